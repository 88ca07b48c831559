import { describe, expect, test } from 'vitest';
import { type CallReport, readCallScript, runCallScript } from '../../src/simulate/carrier/index.ts';
import { openAnsweringBridge, type AnsweringBridgeOptions } from '../support/answering-bridge.ts';
import { openLegs } from '../support/carrier-server.ts';
import { quickClock } from '../support/quick-clock.ts';
import { tone } from '../support/tone.ts';

/** A tone that rises: no two pieces of it are alike. */
function rising(ms: number, fromHz: number): Uint8Array {
  return Buffer.concat(Array.from({ length: ms / 20 }, (_, index) => tone(20, fromHz + index * 7)));
}

const clips = new Map([
  ['hello', tone(600)],
  ['stop', tone(400)],
  ['greeting', rising(3000, 300)],
  ['answer', rising(1400, 1500)],
]);

function readClip(name: string): Promise<Uint8Array> {
  const clip = clips.get(name);
  return clip === undefined ? Promise.reject(new Error(`There is no ${name}.`)) : Promise.resolve(clip);
}

const speed = 3;

async function run(script: object, bridge: Partial<AnsweringBridgeOptions> = {}): Promise<CallReport> {
  const clock = quickClock(speed);
  const greeting = await readClip('greeting');
  const answer = await readClip('answer');
  const url = await openAnsweringBridge({ clock, greeting, answer, ...bridge });
  return runCallScript(readCallScript(script), { url, readClip, clock });
}

function failures({ outcomes }: CallReport): readonly string[] {
  return outcomes.filter(({ isOk }) => !isOk).map(({ detail, name }) => `${name}: ${detail}`);
}

describe('a script of a call', () => {
  const conversation = {
    steps: [
      { hear: { ms: 500, within: 3000 } },
      { say: { clip: 'stop', quietWithin: 400 } },
      { hear: { clip: 'answer', within: 5000 } },
      { quiet: { ms: 500 } },
      { press: '1' },
      { hear: { ms: 1000, within: 3000 } },
      { wait: 100 },
    ],
    expect: { maxBufferedMs: 800, firstHeardWithin: 2000 },
  };

  test('holds for a bridge that answers and can be interrupted', async () => {
    const report = await run(conversation);
    expect(failures(report)).toEqual([]);
    expect(report.isOk).toBe(true);
    expect(report.outcomes.map(({ name }) => name)).toEqual([
      '1. hear 500 ms',
      '2. say stop',
      '3. hear answer',
      '4. quiet for 500 ms',
      '5. press 1',
      '6. hear 1000 ms',
      '7. wait 100 ms',
      'stop: quiet within 400 ms',
      'at most 800 ms at the carrier',
      'the first sound within 2000 ms',
    ]);
    expect(report.figures.interruptions).toHaveLength(1);
    // 100 ms of silence, and the frames' own durations.
    expect(report.figures.answers[0]?.afterMs).toBeGreaterThan(60);
    expect(report.figures.answers[0]?.afterMs).toBeLessThan(1000);
    expect(report.record.end).toMatchObject({ why: 'hung_up', code: 1000 });
  });

  test('fails for a bridge that sends all at once, and does not stop', async () => {
    const report = await run(conversation, { isNaive: true, stops: false });
    expect(report.isOk).toBe(false);
    expect(failures(report)).toEqual([
      expect.stringMatching(/^stop: quiet within 400 ms: after \d{4} ms$/u),
      expect.stringMatching(/^at most 800 ms at the carrier: [34]\d{3} ms$/u),
    ]);
  });

  test('ends at the first step that fails', async () => {
    const report = await run({
      steps: [{ hear: { clip: 'hello', within: 300 } }, { say: 'hello' }],
      expect: { firstHeardWithin: 0 },
    });
    expect(failures(report)).toEqual([
      expect.stringMatching(/^1\. hear hello: 0 % after \d+ ms$/u),
      expect.stringMatching(/^the first sound within 0 ms: after \d+ ms$/u),
    ]);
    expect(report.outcomes).toHaveLength(2);
  });

  test('says how much of a clip was heard', async () => {
    const report = await run({
      steps: [
        { hear: { ms: 1000 } },
        { say: 'stop' },
        { wait: 300 },
        // It was interrupted after a third.
        { hear: { clip: 'greeting', within: 0 } },
      ],
    });
    expect(failures(report)).toEqual([expect.stringMatching(/^4\. hear greeting: \d+ % after/u)]);
    const whole = await run({ steps: [{ hear: { clip: 'greeting', share: 1, within: 6000 } }] });
    expect(failures(whole)).toEqual([]);
  });

  test('fails where there is nothing to interrupt, where a gap is heard, and where the call ends first', async () => {
    const calm = await run({
      steps: [{ hear: { ms: 500 } }, { quiet: { ms: 500 } }, { say: { clip: 'stop', quietWithin: 1000 } }],
    });
    expect(failures(calm)).toEqual([expect.stringContaining('nothing was heard when it was begun')]);
    const clock = quickClock(speed);
    const url = await openLegs((leg) => {
      leg.send(tone(100));
      clock.after(400, () => leg.send(tone(100)));
      clock.after(1200, () => leg.close(1001, 'model_failed'));
    }, clock);
    const script = { url, steps: [{ hear: { ms: 200 } }, { hear: { ms: 300 } }], expect: { maxGaps: 0 } };
    const cut = await runCallScript(readCallScript(script), { readClip, clock });
    expect(failures(cut)).toEqual([
      expect.stringMatching(/^2\. hear 300 ms: 200 ms after \d+ ms: the call has ended$/u),
      'at most 0 gaps: 1',
    ]);
    expect(cut.record.end).toMatchObject({ why: 'closed', code: 1001, reason: 'model_failed' });
  });

  test('fails when the call ends before it is quiet', async () => {
    const steps = [{ hear: { ms: 500 } }, { say: { clip: 'stop', quietWithin: 2000 } }];
    const report = await run({ steps }, { isNaive: true, stops: false });
    expect(failures(report)).toEqual([
      expect.stringMatching(
        /^stop: quiet within 2000 ms: it was still heard after \d{3} ms, when the call ended$/u,
      ),
    ]);
  });

  test('fails for a bridge that a carrier refuses', async () => {
    const url = await openLegs((leg) => {
      leg.listen(() => undefined);
      leg.mark('');
    });
    const report = await runCallScript(readCallScript({ url, steps: [{ wait: 1000 }] }), { readClip });
    expect(failures(report)).toEqual([
      expect.stringContaining('1. wait 1000 ms'),
      expect.stringMatching(/^nothing that a carrier refuses: 31951: mark/u),
    ]);
  });

  test('is checked before it is run', async () => {
    const wrong = {
      steps: [{ hear: { ms: -1 } }, { say: 'a', press: '1' }, {}, { press: 'x' }, { shout: 'a' }],
      link: { lossRate: 2 },
      expects: {},
    };
    expect(() => readCallScript(wrong)).toThrow(expect.objectContaining({ code: 'invalid_script' }));
    let message = '';
    try {
      readCallScript(wrong);
    } catch (error) {
      message = error instanceof Error ? error.message : '';
    }
    expect(message.split('\n').map((line) => line.split(':')[0])).toEqual([
      'link.lossRate',
      'steps.0.hear.ms',
      'steps.1',
      'steps.2',
      'steps.3.press',
      'steps.4',
      'steps.4',
      'script',
    ]);
    expect(message).toContain('steps.1: expected one of hear, press, quiet, say, wait');
    const script = readCallScript({ steps: [{ say: 'nothing' }] });
    await expect(runCallScript(script, { readClip })).rejects.toMatchObject({ code: 'invalid_option' });
    await expect(runCallScript(script, { readClip, url: 'ws://127.0.0.1:1/' })).rejects.toThrow(
      'There is no nothing.',
    );
  });
});
