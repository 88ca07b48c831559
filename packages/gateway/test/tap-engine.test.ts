import { type RecordSink, SpillwayError } from '@spillway/core';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, test } from 'vitest';
import { TapEngine } from '../src/tap/tap-engine.ts';

const sink: RecordSink = {
  durability: 'memory',
  write: () => Promise.resolve(),
  close: () => Promise.resolve(),
};

test('an engine that is away for another reason now has the new one in the log, at most every 10 s', async () => {
  const clock = new VirtualClock();
  const log: string[] = [];
  let reason: string | undefined = 'connection refused';
  const engine = await TapEngine.open({
    name: 'audit',
    open: () =>
      reason === undefined ? Promise.resolve(sink) : Promise.reject(new SpillwayError('sink_failed', reason)),
    unfitness: () => undefined,
    durability: 'memory',
    isSpilled: true,
    isDenialAnError: false,
    timeoutMs: 1000,
    clock,
    log: {
      info: (_about: object, message: string) => void log.push(message),
      error: (about: object) => void log.push((about as { readonly reason: string }).reason),
    },
  });
  const pass = (seconds: number): Promise<void> => clock.advance(seconds * 1000);
  await pass(30);
  expect(log).toEqual(['connection refused']);
  reason = 'no column';
  await pass(2);
  expect(log).toEqual(['connection refused', 'no column']);
  // One whose words change with each try does not fill the log.
  for (let second = 0; second < 30; second += 1) {
    reason = `try ${second}`;
    await pass(1);
  }
  expect(log).toHaveLength(5);
  reason = undefined;
  await pass(2);
  expect(log.at(-1)).toBe('what a tap writes to is back: it gets what is in the spill');
  await engine.close();
});

test.each([
  ['with a spill', true],
  ['without one', false],
])(
  'an engine that is less than asked for is said to be once, whatever is written meanwhile: %s',
  async (_, isSpilled) => {
    const clock = new VirtualClock();
    const log: string[] = [];
    let problem: string | undefined;
    let failure: Error | undefined;
    const engine = await TapEngine.open({
      name: 'audit',
      open: () =>
        Promise.resolve({
          ...sink,
          write: () => (failure === undefined ? Promise.resolve() : Promise.reject(failure)),
        }),
      unfitness: () => problem,
      durability: 'memory',
      isSpilled,
      isDenialAnError: false,
      timeoutMs: 1000,
      clock,
      log: {
        info: () => undefined,
        error: (about: object) => void log.push((about as { readonly reason: string }).reason),
      },
    });
    const { signal } = new AbortController();
    problem = 'appendonly is no';
    for (let write = 0; write < 120; write += 1) {
      await expect(engine.write([], signal)).rejects.toThrow('appendonly is no');
      await clock.advance(500);
    }
    expect(log).toEqual(['appendonly is no']);
    problem = undefined;
    await clock.advance(1000);
    await engine.write([], signal);
    expect(log).toHaveLength(1);
    // Also where its writes have failed before.
    failure = new SpillwayError('sink_failed', 'no answer');
    await expect(engine.write([], signal)).rejects.toThrow('no answer');
    await clock.advance(10_000);
    failure = undefined;
    problem = 'appendfsync is no';
    await expect(engine.write([], signal)).rejects.toThrow('appendfsync is no');
    expect(log.at(-1)).toBe('appendfsync is no');
    await engine.close();
  },
);
