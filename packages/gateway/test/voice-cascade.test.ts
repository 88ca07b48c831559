import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fliteMissing, pocketsphinxMissing } from '@spillway/voice';
import { placeCall } from '@spillway/voice/simulate/carrier';
import { speech } from '@spillway/voice/simulate/speech';
import { describe, expect, test } from 'vitest';
import type { TenantReport } from '../src/limit/usage-report.ts';
import type { CallsSnapshot } from '../src/voice/calls-snapshot.ts';
import { startCascadeProvider } from './support/cascade-provider.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { eventually, startGateway } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { metric } from './support/requests.ts';
import { apiKey, authToken, type SignedGateway, startSignedGateway } from './support/signed-line.ts';

const missing = (await fliteMissing()) ?? (await pocketsphinxMissing());
if (missing !== undefined)
  console.warn(`Tests of a conversation without any service are skipped: ${missing}`);

/** The records of a tap's file, with its conversations' events. */
function toldIn(file: string): readonly Record<string, unknown>[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe.skipIf(missing !== undefined)('a gateway without a provider, with flite and pocketsphinx', () => {
  test('holds a spoken conversation about what was said, and says what each stage did', async () => {
    const file = join(temporaryFolder(), 'calls.jsonl');
    const gateway = await startGateway(['--tap', `name=t,to=file:${file}`]);
    expect(gateway.stdout()).toMatch(
      /Answers calls\n {2}pocketsphinx, simulated\/sim:talk, flite {3}ws:\S+ {3}of this machine/u,
    );
    const call = await placeCall(`${gateway.url.replace('http', 'ws')}/voice/twilio`);
    expect(await call.whenHeard(1000, 30_000)).toBe(true);
    await call.whenQuiet(1500, 30_000);
    const greetedMs = call.heardMs;
    call.say(speech('caller-hello').audio);
    expect(await call.whenHeard(greetedMs + 2000, 30_000)).toBe(true);
    const response = await fetch(`${gateway.adminUrl}/calls/snapshot`).catch(() => undefined);
    void response;
    await call.whenQuiet(1500, 30_000);
    call.hangUp();
    const { callId, refusals } = await call.ended;
    expect(refusals).toEqual([]);
    const line = await lineWith(gateway, 'call ended', { call: callId, reason: 'hangup' });
    expect(line).toMatchObject({
      stages: { recognise: { errors: 0 }, reason: { errors: 0 }, speak: { errors: 0 } },
    });
    // Each answer is a stream of its own, which says whose it is.
    const answers = linesOf(gateway, 'stream ended').filter(({ request }) => request === callId);
    expect(answers).toHaveLength(2);
    expect(answers.every(({ state, agent }) => state === 'completed' && agent === 'spillway-call')).toBe(
      true,
    );
    const told = JSON.stringify(toldIn(file));
    expect(told).toContain('You said: ');
    expect(gateway.stderr()).not.toContain('You said');
    const of = (name: string, stage: string): Promise<number | undefined> =>
      metric(gateway.adminUrl, `spillway_call_stage_${name}{stage="${stage}"}`);
    expect(await of('wait_seconds_count', 'recognise')).toBeGreaterThanOrEqual(1);
    expect(await of('wait_seconds_count', 'reason')).toBe(2);
    expect(await of('audio_seconds_total', 'speak')).toBeGreaterThan(2);
    expect(await of('busy_seconds_total', 'speak')).toBeGreaterThan(0);
    expect(await of('depth_max_seconds', 'recognise')).toBe(0);
    expect(await metric(gateway.adminUrl, 'spillway_call_stage_characters_total')).toBeGreaterThan(40);
    expect(await metric(gateway.adminUrl, 'spillway_call_caller_speech_seconds_total')).toBeGreaterThan(0.5);
  });
});

test('without them, calls are answered by the simulated realtime model, and the start says what is missing', async () => {
  const gateway = await startGateway([], { env: { PATH: '/nonexistent' } });
  expect(gateway.stdout()).toMatch(
    /Answers calls\n {2}simulated {3}ws:\S+ {3}of this machine \(docs\/voice\.md\)\n {2}a spoken conversation: .*apt-get install flite/u,
  );
});
