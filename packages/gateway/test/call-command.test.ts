import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@spillway/core/clock';
import { isTwilioSignature, streamTwiml } from '@spillway/voice';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { openAnsweringBridge } from '../../voice/test/support/answering-bridge.ts';
import { tone } from '../../voice/test/support/tone.ts';
import { wav } from '../../voice/test/support/wav.ts';
import { printed, spawnSpillway } from './support/spawn.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spillway-call-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
});

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `spillway call` to its end. */
async function call(args: readonly string[], env: Record<string, string> = {}): Promise<Result> {
  const command = spawnSpillway(['call', ...args], { env });
  const code = await command.exited;
  return { code, stdout: command.stdout(), stderr: command.stderr() };
}

function write(name: string, content: string | Uint8Array): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  return file;
}

function bridge(stops = true): Promise<string> {
  return openAnsweringBridge({
    clock: systemClock,
    greeting: tone(2500),
    answer: tone(700, 900),
    stops,
    isNaive: !stops,
  });
}

const script = `
steps:
  - hear: { ms: 300, within: 5000 }
  - say: { clip: stop.wav, quietWithin: 900 }
  - hear: { ms: 400, within: 5000 }
expect:
  maxBufferedMs: 800
`;

describe('spillway call', () => {
  test('says a WAV file, hears the answer, and says how it was', async () => {
    const file = write('hello.wav', wav(tone(300)));
    const { code, stderr, stdout } = await call([await bridge(), '--wav', file]);
    expect(stderr).toBe('');
    expect(stdout).toMatch(
      /^ok {4}1\. quiet for 1500 ms: after \d+ ms\nok {4}2\. say .*hello\.wav: in \d+ ms\n/u,
    );
    expect(stdout).toMatch(
      /said 0\.3 s, heard 3\.\d s of \d\.\d s; at most \d+ ms waited at the carrier; gaps: \d+\n/u,
    );
    expect(stdout).toMatch(
      /answers after: \d+ ms; quiet after an interruption: none\nended: hung_up, 1000\n$/u,
    );
    expect(code).toBe(0);
  });

  test('runs a script, and exits with 1 when it does not hold', async () => {
    write('stop.wav', wav(tone(300)));
    const file = write('talk.yaml', script);
    const good = await call([await bridge(), '--script', file]);
    expect(good.stdout).toContain('ok    stop.wav: quiet within 900 ms: after');
    expect(good.code).toBe(0);
    const bad = await call([await bridge(false), '--script', file, '--json']);
    expect(bad.code).toBe(1);
    const report = JSON.parse(bad.stdout) as { outcomes: { name: string; isOk: boolean }[]; isOk: boolean };
    expect(report.isOk).toBe(false);
    expect(report.outcomes.filter(({ isOk }) => !isOk).map(({ name }) => name)).toEqual([
      'stop.wav: quiet within 900 ms',
      'at most 800 ms at the carrier',
    ]);
  });

  test('signs what it sends with the token of the environment, and prints it nowhere', async () => {
    const url = await bridge();
    const signed: boolean[] = [];
    const webhook = createServer((request, response) => {
      let body = '';
      request.on('data', (data: Buffer) => (body += data.toString()));
      request.on('end', () => {
        const signature = request.headers['x-twilio-signature'] as string | undefined;
        const from = `http://${request.headers.host}${request.url}`;
        const form = Object.fromEntries(new URLSearchParams(body));
        signed.push(isTwilioSignature({ authToken: 'my-token', signature, url: from, form }));
        response.end(streamTwiml({ url }));
      });
    });
    webhook.listen(0, '127.0.0.1');
    await once(webhook, 'listening');
    onTestFinished(() => void webhook.close());
    const file = write('talk.json', JSON.stringify({ steps: [{ hear: { ms: 100 } }] }));
    const at = `http://127.0.0.1:${(webhook.address() as AddressInfo).port}/voice`;
    const { code, stderr, stdout } = await call([at, '--script', file, '--sign'], {
      TWILIO_AUTH_TOKEN: 'my-token',
    });
    expect([code, stderr]).toEqual([0, '']);
    expect(signed).toEqual([true]);
    expect(stdout).not.toContain('my-token');
  });

  test('says what is wrong before it calls, with the exit code of its kind', async () => {
    const talk = write('talk.yaml', script);
    const wide = write('wide.wav', wav(new Uint8Array(64), { tag: 1, bits: 16, rate: 44_100 }));
    const odd = write('odd.yaml', 'steps:\n  - shout: a\n');
    const broken = write('broken.yaml', 'steps: [');
    const ws = 'ws://127.0.0.1:1/';
    const results = await Promise.all([
      call([ws]),
      call([ws, '--wav', wide, '--script', talk]),
      call(['--script', talk]),
      call([ws, '--script', talk, '--sign']),
      call([ws, '--wav', wide]),
      call([ws, '--script', odd]),
      call([ws, '--script', broken]),
      call([ws, '--script', talk]),
      call([ws, '--script', write('wait.yaml', 'steps: [{ wait: 10 }]')]),
      call(['tel:1', '--script', write('wait.json', '{"steps": [{"wait": 10}]}')]),
    ]);
    expect(results.map(({ code }) => code)).toEqual([2, 2, 2, 2, 66, 66, 66, 66, 1, 2]);
    const said = results.map(({ stderr }) => stderr);
    expect(said[0]).toBe('spillway: expected either --wav or --script, got neither\n');
    expect(said[2]).toContain('expected a URL, here or in the script');
    expect(said[3]).toContain('TWILIO_AUTH_TOKEN');
    expect(said[4]).toContain('got 44100 samples a second, mono, linear with 16 bits');
    expect(said[5]).toContain('odd.yaml: steps.0');
    expect(said[6]).toContain('broken.yaml: ');
    expect(said[7]).toContain('stop.wav: ENOENT');
    expect(said[8]).toContain('expected a WebSocket at ws://127.0.0.1:1/');
    expect(results.every(({ stdout }) => stdout === '')).toBe(true);
  });

  test('hangs up when it is interrupted, and says what came until then', async () => {
    const file = write('long.yaml', 'steps: [{ hear: { ms: 100, within: 5000 } }, { wait: 60000 }]');
    const command = spawnSpillway(['call', await bridge(), '--script', file]);
    await printed(command, /^(ok {4}1\. hear)/mu);
    command.process.kill('SIGINT');
    expect(await command.exited).toBe(1);
    expect(command.stdout()).toMatch(/^FAIL {2}2\. wait 60000 ms: .*the call has ended$/mu);
    expect(command.stdout()).toMatch(/^ended: hung_up, /mu);
  });
});
