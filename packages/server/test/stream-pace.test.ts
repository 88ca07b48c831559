import { StreamLimits } from '../src/stream/stream-limits.ts';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { clientLeft, GatewayError } from '../src/errors.ts';
import { LimitError } from '../src/limit/limit-error.ts';
import { PaceBook } from '../src/limit/pace-book.ts';
import type { StreamPace } from '../src/limit/stream-pace.ts';
import type { GatewayStream } from '../src/stream/stream.ts';
import type { Tap } from '../src/stream/tap.ts';
import { nodeClock } from '../src/time/node-clock.ts';
import { openStreams, runOf, startStream } from './support/own-streams.ts';

const forever = 1e-6;
const event = runOf('word');

/** A pace that gives its burst, and then nothing for days. */
function openPace(): { pace: StreamPace; book: PaceBook } {
  const book = new PaceBook(nodeClock);
  const pace = book.open({ shared: [{ key: 'a', tokensPerSecond: forever }] });
  if (pace === undefined) throw new Error('there is a pace');
  while (pace.take(event));
  return { pace, book };
}

test('while its pace holds back a stream, that is what its provider waits for, whoever else lags', async () => {
  const lagging: Tap = { name: 'lags', open: () => ({ read: () => new Promise(() => undefined) }) };
  const { streams } = openStreams([lagging]);
  const { say, stream } = startStream(streams);
  const { pace } = openPace();
  stream.limits = new StreamLimits(stream.signal, { pace });
  say('a word that waits for the tap');
  const turn = pace.turn(event);
  expect(pace.isHolding).toBe(true);
  stream.paused(true, performance.now(), 'limit');
  stream.tick(performance.now());
  expect(stream.stalls.cause).toBe('limit');
  pace.release();
  await turn;
  // Now the event waits for room in the channel.
  stream.tick(performance.now());
  expect(stream.stalls.cause).toBe('tap');
  for (const tap of stream.audience.taps) tap.detach();
});

describe('a stream lets go what its pace holds back, and gives back its part of it', () => {
  const reached = { scope: 'tenant', name: 'tokensPerDay', value: 1, used: 1, resetMs: undefined } as const;
  const ends: readonly (readonly [string, (stream: GatewayStream) => void])[] = [
    ['when its client leaves', (stream) => stream.cancel(clientLeft('left'))],
    ['at a deadline', (stream) => stream.cancel(new GatewayError('stream_timeout', 'too long'))],
    ['when another limit cuts it', (stream) => stream.cut(new LimitError(reached, 'used up'))],
  ];
  test.each(ends)('%s', async (_, end) => {
    const { streams } = openStreams();
    const { say, stream } = startStream(streams);
    const { book, pace } = openPace();
    stream.limits = new StreamLimits(stream.signal, { pace });
    say('word');
    void pace.turn(event);
    end(stream);
    await nextTurn();
    expect(pace.isHolding).toBe(false);
    expect(pace.take(event)).toBe(true);
    // Another one takes over what is left of it: nothing.
    expect(book.open({ shared: [{ key: 'a', tokensPerSecond: forever }] })?.take(event)).toBe(false);
  });
});

test('a stream that has ended by itself needs its pace no more', () => {
  const { streams } = openStreams();
  const { end, stream } = startStream(streams);
  let releases = 0;
  const release = (): void => void (releases += 1);
  stream.limits = new StreamLimits(stream.signal, { pace: Object.assign(openPace().pace, { release }) });
  end();
  expect(releases).toBe(1);
});
