import { type Channel, openChannel } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { type EventRun, EventScanner } from '@spillway/core/format/sse';
import { expect, test } from 'vitest';
import { LargeRun } from '@spillway/server/memory/large-run';
import { EventMemory, type EventPlace } from '@spillway/server/memory/event-memory';
import { RunMemory } from '@spillway/server/memory/run-memory';
import type { Reply } from '../src/source/reply.ts';
import { ReplySource } from '../src/source/reply-source.ts';

const maxEventBytes = 262_144;
const event = Buffer.from(`data: ${'x'.repeat(100_000)}\n\n`);

interface Told {
  readonly pauses: (string | undefined)[];
  resumes: number;
  readonly accepted: LargeRun[];
  ends: number;
  discards: number;
}

function open(
  memory: EventMemory,
  owner = 'a',
  onResume: () => void = () => undefined,
): { source: ReplySource; channel: Channel<EventRun>; told: Told } {
  const told: Told = { pauses: [], resumes: 0, accepted: [], ends: 0, discards: 0 };
  const channel = openChannel<EventRun>({ maxBytes: 1000, weigh: ({ byteLength }) => byteLength });
  const reply = {
    pause: () => undefined,
    resume: onResume,
    cancel: () => undefined,
    discard: () => (told.discards += 1),
  };
  const source = new ReplySource(reply as unknown as Reply, channel, new RunMemory(), {
    listener: {
      maxRunBytes: Infinity,
      received: () => undefined,
      paused: (isPaused, _nowMs, cause) => {
        if (isPaused) told.pauses.push(cause);
        else told.resumes += 1;
      },
      accepted: (run) => told.accepted.push(run),
      events: 0,
      bytes: 0,
      large: { events: 0, bytes: 0, tokens: 0 },
    },
    loop: { gapMs: 0, look: () => undefined },
    scanner: new EventScanner({ maxEventBytes, classify: openaiChat.classify }),
    openPlace: () => memory.open(owner),
    maxEventBytes,
    maxStreamBytes: Infinity,
    onEnd: () => (told.ends += 1),
  });
  return { source, channel, told };
}

/** Reads as sockets do, as long as nothing has paused it. Returns how much was read. */
function read(source: ReplySource, told: Told, from: number, to = event.length): number {
  let at = from;
  while (at < to && told.pauses.length === told.resumes) {
    const end = Math.min(to, at + 16_384);
    source.data(event, at, end);
    at = end;
  }
  return at;
}

function fill(memory: EventMemory): EventPlace {
  const place = memory.open('b');
  while (memory.heldBytes < maxEventBytes) expect(place.grow(() => undefined)).toBe(true);
  return place;
}

test('promise 1: a large event that finds no room is not read on, and is whole when there is some', () => {
  const memory = new EventMemory({ maxBytes: maxEventBytes, maxEventBytes });
  const other = fill(memory);
  const { channel, source, told } = open(memory);
  const reader = channel.reader();
  const at = read(source, told, 0);
  // One read beyond what needs no place.
  expect(at).toBeLessThanOrEqual(2 * 16_384);
  expect(told.pauses).toEqual(['event_memory']);
  expect(memory.waitingPlaces).toBe(1);
  other.release();
  expect(told.resumes).toBe(1);
  expect(memory.waitingPlaces).toBe(0);
  expect(read(source, told, at)).toBe(event.length);
  expect(told.accepted).toHaveLength(1);
  expect(memory.heldBytes).toBe(event.length);
  expect(Buffer.from((reader.take() as EventRun).bytes).equals(event)).toBe(true);
  for (const run of told.accepted) run.release();
  expect(memory.heldBytes).toBe(0);
});

test('who waits for room and is cut waits no more, and gives back what it has', () => {
  const memory = new EventMemory({ maxBytes: maxEventBytes, maxEventBytes });
  const other = fill(memory);
  const { channel, source, told } = open(memory);
  read(source, told, 0);
  source.fail(new Error('cut'));
  expect(memory.waitingPlaces).toBe(0);
  expect(told.ends).toBe(1);
  expect(channel.end).toMatchObject({ state: 'failed', error: { code: 'upstream_cut' } });
  other.release();
  const next = open(memory);
  read(next.source, next.told, 0, 50_000);
  expect(memory.heldBytes).toBeGreaterThanOrEqual(50_000);
  next.source.fail(new Error('cut'));
  expect(memory.heldBytes).toBe(0);
});

test('what is whole and finds no reader before its channel ends gives its place back', async () => {
  const memory = new EventMemory({ maxBytes: 4 * maxEventBytes, maxEventBytes });
  const { channel, source, told } = open(memory);
  channel.reader();
  read(source, told, 0);
  // It is larger than the channel, so it waits behind the one before.
  read(source, told, 0);
  expect(told.accepted).toHaveLength(1);
  expect(memory.heldBytes).toBe(2 * event.length);
  channel.cancel();
  await Promise.resolve();
  await Promise.resolve();
  for (const run of told.accepted) run.release();
  expect(memory.heldBytes).toBe(0);
});

test.each(['offer', 'write'] as const)(
  'an event that the channel fails to take (%s) gives its place back',
  async (name) => {
    const memory = new EventMemory({ maxBytes: 4 * maxEventBytes, maxEventBytes });
    const { channel, source, told } = open(memory);
    channel.reader();
    if (name === 'write') read(source, told, 0);
    channel[name] = () => {
      throw new Error('a defect');
    };
    read(source, told, 0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(told.ends).toBe(1);
    for (const run of told.accepted) run.release();
    expect(memory.heldBytes).toBe(0);
  },
);

test('a place is given back when the last of its holders has let go', () => {
  const memory = new EventMemory({ maxBytes: maxEventBytes, maxEventBytes });
  const place = memory.open('a');
  place.grow(() => undefined);
  const run = new LargeRun({ bytes: event, byteLength: event.length, events: 1 }, place);
  expect(memory.heldBytes).toBeLessThanOrEqual(event.length);
  run.hold();
  run.release();
  expect(memory.heldBytes).toBeGreaterThan(0);
  run.release();
  expect(memory.heldBytes).toBe(0);
});

test('what comes behind the end of a stream is not read on, but for a few bytes', () => {
  const { channel, source, told } = open(new EventMemory({ maxBytes: maxEventBytes, maxEventBytes }));
  const marker = Buffer.from('data: [DONE]\n\n');
  source.data(marker, 0, marker.length);
  expect(channel.end).toMatchObject({ state: 'completed' });
  source.data(event, 0, 10_000);
  expect(told.discards).toBe(0);
  source.data(event, 10_000, 20_000);
  expect(told.discards).toBe(1);
});

test('promise 4: what comes as soon as it is read on, with the end, is whole', async () => {
  const memory = new EventMemory({ maxBytes: 4 * maxEventBytes, maxEventBytes });
  const small = (text: string): Buffer => Buffer.from(`data: {"a":"${text.repeat(800)}"}\n\n`);
  const left = [small('c'), Buffer.concat([small('d'), Buffer.from('data: [DONE]\n\n')])];
  const { channel, source, told } = open(memory, 'a', () => {
    for (const bytes of left.splice(0)) source.data(bytes, 0, bytes.length);
  });
  const reader = channel.reader();
  for (const bytes of [small('a'), small('b')]) source.data(bytes, 0, bytes.length);
  let text = '';
  for await (const { bytes } of reader) text += Buffer.from(bytes).toString();
  expect(['a', 'b', 'c', 'd'].filter((letter) => text.includes(letter.repeat(800)))).toEqual([
    'a',
    'b',
    'c',
    'd',
  ]);
  expect(text).toContain('[DONE]');
  expect(told.ends).toBe(1);
});
