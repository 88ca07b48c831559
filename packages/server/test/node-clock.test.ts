import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, test } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { StreamTokens } from '../src/stream/stream-token.ts';
import { nodeClock } from '../src/time/node-clock.ts';
import { Soon } from '../src/time/soon.ts';

test('a tick comes before promises, and a turn behind both', async () => {
  const trace: string[] = [];
  await within(
    new Promise<void>((resolve) => {
      // In a turn of its own: a test is called by a promise.
      setImmediate(() => {
        void Promise.resolve().then(() => trace.push('promise'));
        nodeClock.nextTurn(() => {
          trace.push('turn');
          resolve();
        });
        nodeClock.nextTick((word) => trace.push(word), 'tick');
        trace.push('now');
      });
    }),
    'the turn',
  );
  expect(trace).toEqual(['now', 'tick', 'promise', 'turn']);
});

test('calls back until it is stopped', async () => {
  let calls = 0;
  const called = Promise.withResolvers<void>();
  const stopped = nodeClock.after(1, () => called.reject(new Error('stopped')));
  stopped.stop();
  const interval = nodeClock.every(1, () => {
    calls += 1;
    if (calls === 3) called.resolve();
  });
  // Its timer keeps nothing alive, so something else has to.
  const alive = setTimeout(() => undefined, 60_000);
  await within(called.promise, 'three calls');
  interval.stop();
  clearTimeout(alive);
  const before = calls;
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(calls).toBe(before);
});

test.each([
  [
    'intervals, and what is told so, keep no process alive',
    'clock.every(1000, never); clock.after(100_000, never).unref();',
    0,
  ],
  ['what is to come once does', 'clock.after(1, () => process.exit(3));', 3],
])('%s', async (_what, code, exitCode) => {
  const url = new URL('../src/time/node-clock.ts', import.meta.url).href;
  const program = `import { nodeClock as clock } from ${JSON.stringify(url)}; const never = () => process.exit(1); ${code}`;
  const args = ['--conditions=spillway-source', '--input-type=module', '--eval', program];
  const ended = promisify(execFile)(process.execPath, args).then(
    () => 0,
    (error: { readonly code: number }) => error.code,
  );
  expect(await within(ended, 'the program to end')).toBe(exitCode);
});

test('those who are due within 5 ms are called with one timer, and none too early', async () => {
  const clock = new VirtualClock();
  let timers = 0;
  const soon = new Soon({
    nowMs: () => clock.nowMs(),
    after: (ms, callback) => {
      timers += 1;
      return clock.after(ms, callback);
    },
    nextTurn: (callback) => clock.nextTurn(callback),
  });
  const calls: [dueMs: number, atMs: number][] = [];
  await clock.advance(3);
  for (const ms of [0, 1, 2, 7, 12, 12, 13, 40]) soon.call(ms, () => calls.push([3 + ms, clock.nowMs()]));
  await clock.advance(100);
  expect(calls).toEqual([
    [3, 5],
    [4, 5],
    [5, 5],
    [10, 10],
    [15, 15],
    [15, 15],
    [16, 20],
    [43, 45],
  ]);
  expect(timers).toBe(5);
});

test('names of streams: by default nobody guesses them, and the same seed has the same', () => {
  const tokens = new StreamTokens(nodeClock);
  const ids = Array.from({ length: 1000 }, () => tokens.id());
  const secrets = Array.from({ length: 1000 }, () => tokens.token());
  for (const id of ids)
    expect(id).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  for (const secret of secrets) expect(secret).toMatch(/^[\w-]{32}$/);
  expect(new Set([...ids, ...secrets]).size).toBe(2000);
  const drawn = (seed: number): string[] => {
    const seeded = new StreamTokens(new VirtualClock({ seed }));
    return [seeded.token(), seeded.id(), seeded.token()];
  };
  expect(drawn(1)).toEqual(drawn(1));
  expect(drawn(1)).not.toEqual(drawn(2));
  expect(new StreamTokens(nodeClock).token()).not.toBe(new StreamTokens(nodeClock).token());
});
