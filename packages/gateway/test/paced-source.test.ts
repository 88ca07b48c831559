import { type Channel, openChannel } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { type EventRun, EventScanner } from '@spillway/core/format/sse';
import { createTokenEstimate } from '@spillway/core/format/token-estimate';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { clientLeft, GatewayError } from '@spillway/server/errors';
import { PaceBook, type PaceWishes } from '@spillway/server/limit/pace-book';
import type { StreamPace } from '@spillway/server/limit/stream-pace';
import { EventMemory } from '@spillway/server/memory/event-memory';
import { LargeRun } from '@spillway/server/memory/large-run';
import { RunMemory } from '@spillway/server/memory/run-memory';
import { expect, test } from 'vitest';
import type { Reply } from '../src/source/reply.ts';
import { ReplySource } from '../src/source/reply-source.ts';

const maxEventBytes = 262_144;
const word = 'data: {"choices":[{"index":0,"delta":{"content":" word"}}]}\n\n';
const role = 'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n';
const done = 'data: [DONE]\n\n';

interface Paced {
  readonly clock: VirtualClock;
  readonly channel: Channel<EventRun>;
  readonly source: ReplySource;
  readonly pace: StreamPace;
  readonly pauses: (string | undefined)[];
  readonly counts: { resumes: number; ends: number; accepted: number };
  /** A read of the provider's socket. */
  readonly say: (text: string) => void;
}

function open(
  wishes: PaceWishes,
  maxItems = 1000,
  clock = new VirtualClock(),
  book = new PaceBook(clock),
): Paced {
  const pauses: (string | undefined)[] = [];
  const counts = { resumes: 0, ends: 0, accepted: 0 };
  const channel = openChannel<EventRun>({ maxItems });
  const pace = book.open({ tokensOf: createTokenEstimate(openaiChat), ...wishes });
  if (pace === undefined) throw new Error('there is a pace');
  const reply = { pause: () => undefined, resume: () => undefined, cancel: () => undefined };
  const memory = new EventMemory({ maxBytes: maxEventBytes, maxEventBytes });
  const source = new ReplySource(reply as unknown as Reply, channel, new RunMemory(), {
    listener: {
      maxRunBytes: Infinity,
      events: 0,
      bytes: 0,
      large: { events: 0, bytes: 0, tokens: 0 },
      received: () => undefined,
      paused: (isPaused, _nowMs, cause) => {
        if (isPaused) pauses.push(cause);
        else counts.resumes += 1;
      },
      accepted: (run) => {
        expect(run).toBeInstanceOf(LargeRun);
        counts.accepted += 1;
        run.release();
      },
    },
    loop: { gapMs: 0, look: () => undefined },
    scanner: new EventScanner({ maxEventBytes, classify: openaiChat.classify }),
    pace,
    openPlace: () => memory.open('a'),
    maxEventBytes,
    maxStreamBytes: Infinity,
    onEnd: () => (counts.ends += 1),
  });
  const say = (text: string): void => {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += 16_384)
      source.data(bytes, at, Math.min(bytes.length, at + 16_384));
  };
  return { clock, channel, source, pace, pauses, counts, say };
}

test('events of one read go one by one, each at its time, and the provider waits for the limit meanwhile', async () => {
  const { channel, clock, counts, pace, pauses, say } = open({ tokensPerSecond: 20 });
  // What brings no part of the answer need not wait.
  say(role + word.repeat(10) + done);
  expect(channel.nextOffset).toBe(1 + 4);
  expect(pauses).toEqual(['limit']);
  for (let token = 5; token <= 10; token += 1) {
    await clock.advance(49);
    expect(channel.nextOffset).toBe(token);
    expect(pace.isHolding).toBe(true);
    await clock.advance(1);
    // The end marker goes with the last.
    expect(channel.nextOffset).toBe(token === 10 ? 12 : token + 1);
    expect(channel.end).toEqual(token === 10 ? { state: 'completed' } : undefined);
  }
  expect(counts).toEqual({ resumes: 1, ends: 1, accepted: 0 });
  expect(pace.isHolding).toBe(false);
  // Nothing is left that could wake up.
  await clock.advance(10_000);
});

test('a provider that is slower than the pace is never made to wait', async () => {
  const { channel, clock, pauses, say } = open({ tokensPerSecond: 20 });
  for (let token = 1; token <= 20; token += 1) {
    say(word);
    expect(channel.nextOffset).toBe(token);
    await clock.advance(60);
  }
  expect(pauses).toEqual([]);
});

test('a reader that is slower than the pace gets nothing faster, and each event takes one turn', async () => {
  const { channel, clock, say } = open({ tokensPerSecond: 20 }, 2);
  const reader = channel.reader();
  say(word.repeat(12));
  expect(reader.takeAll()).toHaveLength(2);
  // The burst is 4: the third had its turn before it found no room.
  await clock.advance(0);
  expect(reader.takeAll()).toHaveLength(2);
  await clock.advance(1000);
  expect(channel.nextOffset).toBe(6);
  const times: number[] = [];
  for (let count = 0; count < 8; count += 1) {
    while (reader.take() === undefined) await clock.advance(10);
    times.push(clock.nowMs());
    await clock.advance(100);
  }
  // The pace has rested while the channel was full, so it has its burst: the reader alone says when.
  expect(times).toEqual([1000, 1100, 1200, 1300, 1400, 1500, 1600, 1700]);
});

test.each([
  ['a cancel', clientLeft('left'), 'cancelled', 0],
  ['a deadline of the gateway', new GatewayError('stream_timeout', 'too long'), 'failed', 12],
] as const)('%s does not wait for the pace', async (_, reason, state, offset) => {
  const { channel, clock, counts, pace, source, say } = open({ tokensPerSecond: 1 });
  const reader = channel.reader();
  say(word.repeat(12));
  expect(channel.nextOffset).toBe(4);
  // As the stream does when its signal is aborted.
  pace.release();
  source.fail(reason);
  await clock.advance(0);
  expect(channel.end).toMatchObject({ state });
  if (offset > 0) expect(channel.nextOffset).toBe(offset);
  expect(reader.takeAll()).toHaveLength(offset);
  expect(counts.ends).toBe(1);
});

test('a provider that breaks off is told behind all that it sent, at the pace', async () => {
  const { channel, clock, source, say } = open({ tokensPerSecond: 1 });
  say(word.repeat(6));
  source.fail(new Error('reset'));
  await clock.advance(1999);
  expect([channel.nextOffset, channel.end]).toEqual([5, undefined]);
  await clock.advance(1);
  expect(channel.nextOffset).toBe(6);
  expect(channel.end).toMatchObject({ state: 'failed', error: { code: 'upstream_cut' } });
});

test('a large event waits for its turn as others do, and what follows pays for it', async () => {
  const { channel, clock, counts, say } = open({ tokensPerSecond: 1000 });
  // The burst is 100 tokens: it may go, and leaves a debt.
  const text = 'x'.repeat(40_000);
  say(word + word.replace(' word', text) + word);
  expect(channel.nextOffset).toBe(1);
  await clock.advance(1);
  expect([channel.nextOffset, counts.accepted]).toEqual([2, 1]);
  await clock.advance(9890);
  expect(channel.nextOffset).toBe(2);
  await clock.advance(20);
  expect(channel.nextOffset).toBe(3);
});

test('streams of one tenant take turns, and one that ends leaves its part to the others', async () => {
  const clock = new VirtualClock();
  const book = new PaceBook(clock);
  const shared = [{ key: 'tenant:a', tokensPerSecond: 30 }];
  const [one, two, three] = [1, 2, 3].map(() => open({ shared }, 1000, clock, book)) as [Paced, Paced, Paced];
  for (const { say } of [one, two, three]) say(word.repeat(200));
  const before = [one, two, three].map(({ channel }) => channel.nextOffset);
  await clock.advance(5000);
  const gained = [one, two, three].map(({ channel }, index) => channel.nextOffset - (before[index] ?? 0));
  expect(Math.max(...gained) - Math.min(...gained)).toBeLessThanOrEqual(4);
  expect(gained.reduce((sum, count) => sum + count)).toBeGreaterThanOrEqual(149);
  three.pace.release();
  three.source.fail(clientLeft('left'));
  const [first] = [one.channel.nextOffset];
  await clock.advance(2000);
  expect(one.channel.nextOffset - first).toBeGreaterThanOrEqual(29);
  expect(book.size).toBe(1);
  one.pace.release();
  two.pace.release();
  await clock.advance(200);
  expect(book.size).toBe(0);
});

test('who opens one stream after the other has one burst, and a new number holds for streams that run', async () => {
  const clock = new VirtualClock();
  const book = new PaceBook(clock);
  const opened = (tokensPerSecond: number): Paced =>
    open({ shared: [{ key: 'user:a', tokensPerSecond }] }, 1000, clock, book);
  const first = opened(2);
  first.say(word.repeat(4));
  first.pace.release();
  await clock.advance(10);
  expect(first.channel.nextOffset).toBe(4);
  const second = opened(2);
  second.say(word.repeat(10));
  expect(second.channel.nextOffset).toBe(0);
  await clock.advance(1000);
  expect(second.channel.nextOffset).toBe(2);
  opened(100);
  await clock.advance(100);
  expect(second.channel.nextOffset).toBe(10);
});
