import { describe, expect, test } from 'vitest';
import { createCoalesce } from '../src/format/coalesce.ts';
import { openaiChat } from '../src/format/openai-chat.ts';
import { EventScanner } from '../src/format/sse.ts';
import {
  createMemoryStore,
  createReplenisher,
  createTransformStream,
  openChannel,
  openCredit,
  pipe,
} from '../src/index.ts';
import { encodeDataHeader } from '../src/session/frames.ts';

// Every number that somebody may set: what it may not be is said when it is set, and not by what happens later.

type Call = (value: number) => unknown;

const one = { weigh: () => 1, durationMs: () => 1, merge: () => undefined } as const;
const channel = () => openChannel<string>({ maxItems: 9, ...one });
const scanner = (maxRunBytes: number) => {
  new EventScanner().push(new TextEncoder().encode('data: 1\n\n'), () => {}, maxRunBytes);
};

/** What may have fractions: its name, its minimum, and what sets it. */
const measures: readonly [name: string, minimum: number, set: Call][] = [
  ['maxBytes', 1, (maxBytes) => openChannel({ maxBytes, ...one })],
  ['maxMs', 1, (maxMs) => openChannel({ maxMs, ...one })],
  ['maxMergedBytes', 1, (maxMergedBytes) => openChannel({ maxItems: 1, maxMergedBytes, ...one })],
  ['maxBytes', 0, (maxBytes) => openChannel({ maxItems: 1, replay: { maxBytes }, ...one })],
  ['maxAgeMs', 0, (maxAgeMs) => openChannel({ maxItems: 1, replay: { maxAgeMs }, ...one })],
  ['maxHeldBytes', 0, (maxHeldBytes) => openChannel({ maxItems: 1, replay: { maxHeldBytes }, ...one })],
  ['maxBytes', 1, (maxBytes) => channel().reader({ maxBytes })],
  ['maxMs', 1, (maxMs) => channel().reader({ maxMs })],
  ['maxBytes', 0, (maxBytes) => channel().reader().takeAll({ maxBytes })],
  ['maxBytes', 0, (maxBytes) => createMemoryStore({ maxBytes: 1 }).read(0, { maxBytes })],
  ['maxBytes', 1, (maxBytes) => createMemoryStore({ maxBytes })],
  ['maxBytes', 1, (maxBytes) => createTransformStream({ maxBytes, ...one })],
  [
    'maxBytes',
    1,
    (maxBytes) =>
      pipe(
        new ReadableStream<string>({ start: (stream) => stream.close() }),
        { maxBytes, ...one },
        new WritableStream<string>(),
      ),
  ],
  ['bytes', 1, (maxBytes) => openCredit({ maxBytes })],
  ['ms', 1, (maxMs) => openCredit({ maxMs })],
  ['bytes', 1, (maxBytes) => createReplenisher({ maxBytes })],
  ['maxEventBytes', 1, (maxEventBytes) => new EventScanner({ maxEventBytes })],
  ['maxRunBytes', 1, scanner],
  ['maxEventBytes', 1, (maxEventBytes) => createCoalesce(openaiChat.delta, { maxEventBytes })],
];

/** What is counted, and has none. */
const counts: readonly [name: string, minimum: number, set: Call][] = [
  ['maxItems', 1, (maxItems) => openChannel({ maxItems })],
  ['maxItems', 0, (maxItems) => openChannel({ maxItems: 1, replay: { maxItems } })],
  ['maxItems', 1, (maxItems) => channel().reader({ maxItems })],
  ['maxItems', 1, (maxItems) => channel().reader().takeAll({ maxItems })],
  ['maxItems', 1, (maxItems) => createMemoryStore({ maxBytes: 1 }).read(0, { maxItems })],
  ['maxItems', 1, (maxItems) => createTransformStream({ maxItems })],
  ['items', 1, (maxItems) => openCredit({ maxItems })],
  ['items', 1, (maxItems) => createReplenisher({ maxItems })],
  ['newest', 0, (items) => channel().newest(items)],
  ['firstOffset', 0, (firstOffset) => openChannel({ maxItems: 1, firstOffset })],
  ['from', 0, (from) => channel().reader({ from })],
  ['from', 0, (from) => encodeDataHeader(0, from, 2)],
  ['stream', 0, (stream) => encodeDataHeader(stream, 0, 0)],
];

/** What has an upper bound, too. */
const parts: readonly [name: string, minimum: number, set: Call][] = [
  ['high', 0.5, (highWatermark) => channel().reader({ highWatermark, lowWatermark: 0.5 })],
  ['low', 0, (lowWatermark) => channel().reader({ lowWatermark })],
  ['threshold', 0.001, (threshold) => createReplenisher({ maxItems: 1, threshold })],
];

/** What it throws, or rejects with. */
async function refusal(set: Call, value: number): Promise<unknown> {
  try {
    await set(value);
    return undefined;
  } catch (error) {
    return error;
  }
}

describe.each([
  ['a measure', measures, [-1, -Infinity, Number.NaN]],
  ['a count', counts, [-1, -Infinity, Number.NaN, 1.5]],
  ['a part', parts, [-1, 2, Infinity, -Infinity, Number.NaN]],
] as const)('%s', (_what, options, wrong) => {
  test.each(options)('%s, %d or more: %s', async (name, minimum, set) => {
    for (const value of minimum >= 1 ? [...wrong, 0] : wrong) {
      expect(await refusal(set, value), String(value)).toMatchObject({
        code: 'invalid_option',
        message: expect.stringMatching(
          new RegExp(`\\b${name}\\b.*expected|expected.*\\b${name}\\b`),
        ) as string,
      });
      expect(await refusal(set, value)).toHaveProperty('message', expect.stringContaining(String(value)));
    }
    expect(await refusal(set, minimum)).toBeUndefined();
  });
});
