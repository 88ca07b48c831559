import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { accumulators } from './accumulate.ts';
import {
  type Fixture,
  fixtures,
  type FormatName,
  formatNames,
  readRecordings,
  toEvents,
  toSse,
} from './fixtures.ts';
import { openReplayServer, type Replay } from './replay.ts';

/**
 * The harness that promise 9 is proven with, proven itself: it must see the same in the same bytes,
 * however they are cut, and it must see what is in them. A harness that sees nothing finds nothing.
 */

let server: Awaited<ReturnType<typeof openReplayServer>>;
const replay: Replay = (body) => server.replay(body);

beforeAll(async () => {
  server = await openReplayServer();
});
afterAll(() => server.close());

/** Pieces of uneven sizes, so that over a few streams every kind of place is cut. */
function cut(bytes: Uint8Array, seed: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let start = 0, turn = seed; start < bytes.length; turn += 1) {
    const size = 1 + ((turn * 7919) % 331);
    pieces.push(bytes.subarray(start, start + size));
    start += size;
  }
  return pieces;
}

/** Every string in a result, however deep; arguments that are JSON by their content as well. */
function strings(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.keys(value).flatMap((key) => strings((value as Record<string, unknown>)[key]));
}

const cases = formatNames.flatMap((format): [FormatName, string, Fixture][] =>
  fixtures[format].map((fixture) => [format, fixture.name, fixture]),
);

describe('every way of reading a stream', () => {
  test.each(cases)('%s: %s', async (format, _name, fixture) => {
    const bytes = toSse(format, fixture.events, fixture.isCut);
    const events = toEvents(format, fixture.events, fixture.isCut).map((text) => Buffer.from(text));
    for (const [name, accumulate] of Object.entries(accumulators[format])) {
      const whole = await accumulate(bytes);
      expect(await accumulate(cut(bytes, name.length)), `${name}, cut`).toEqual(whole);
      expect(await accumulate(events), `${name}, event by event`).toEqual(whole);
      expect(await accumulate(cut(bytes, 3), replay), `${name}, from a server`).toEqual(whole);
      const found = new Set(strings(whole));
      // What is put together by hand has the values that do not join as JSON.
      const missing = fixture.expects.filter((text) => !found.has(text) && !found.has(JSON.stringify(text)));
      if (fixture.except?.includes(name) === true) expect(missing, name).not.toEqual([]);
      else expect(missing, name).toEqual([]);
    }
  });

  test.each(readRecordings().map(({ format, name, events }) => [format, name, events] as const))(
    'recorded %s: %s',
    async (format, _name, events) => {
      const bytes = toSse(format, events);
      for (const accumulate of Object.values(accumulators[format])) {
        expect(await accumulate(cut(bytes, 5))).toEqual(await accumulate(bytes));
      }
    },
  );
});

/** Where each format has the text of a delta. */
const textPaths: Record<FormatName, readonly string[]> = {
  'openai-chat': ['choices', '0', 'delta', 'content'],
  'openai-responses': ['delta'],
  'openai-completions': ['choices', '0', 'text'],
  'anthropic-messages': ['delta', 'text'],
  gemini: ['candidates', '0', 'content', 'parts', '0', 'text'],
};

type Json = Record<string, unknown>;

function holder(payload: Json, path: readonly string[]): Json | undefined {
  let at: unknown = payload;
  for (const key of path.slice(0, -1)) at = (at as Json | undefined)?.[key];
  return typeof at === 'object' && at !== null ? (at as Json) : undefined;
}

/** Merges the deltas in the middle of a stream three by three, as plainly as can be. */
function merge(format: FormatName, events: readonly string[]): string[] {
  const path = textPaths[format];
  const key = path.at(-1) ?? '';
  const merged: string[] = [];
  for (const [index, event] of events.entries()) {
    const payload = JSON.parse(event) as Json;
    const before = JSON.parse(merged.at(-1) ?? '{}') as Json;
    const [text, textBefore] = [holder(payload, path)?.[key], holder(before, path)?.[key]];
    const isDelta = index > 10 && index < events.length - 12 && index % 3 !== 0;
    if (isDelta && typeof text === 'string' && typeof textBefore === 'string') {
      Object.assign(holder(payload, path) ?? {}, { [key]: textBefore + text });
      merged[merged.length - 1] = JSON.stringify(payload);
    } else {
      merged.push(event);
    }
  }
  return merged;
}

describe.each(formatNames)('a long text in %s', (format) => {
  const [fixture] = fixtures[format];
  const events = (fixture?.events ?? []).filter((event) => typeof event === 'string');
  const all = Object.entries(accumulators[format]);

  test('is the same with its deltas merged', async () => {
    const merged = merge(format, events);
    expect(merged.length).toBeLessThan(events.length / 2);
    for (const [name, accumulate] of all) {
      expect(await accumulate(toSse(format, merged)), name).toEqual(await accumulate(toSse(format, events)));
    }
  });

  test('is another with a delta left out, twice, or in the wrong place', async () => {
    const at = Math.floor(events.length / 2);
    const [one = '', two = ''] = events.slice(at, at + 2);
    const damaged = {
      lost: events.toSpliced(at, 1),
      doubled: events.toSpliced(at, 0, one),
      swapped: events.toSpliced(at, 2, two, one),
    };
    for (const [name, accumulate] of all) {
      // The last event of a response has all of it once more, and that is what the SDK gives.
      if (name === 'openaiResponses') continue;
      const whole = await accumulate(toSse(format, events));
      for (const [damage, some] of Object.entries(damaged)) {
        expect(await accumulate(toSse(format, some)), `${name}, ${damage}`).not.toEqual(whole);
      }
    }
  });
});

test('a fixture is a stream of its own, with a name of its own', () => {
  for (const format of formatNames) {
    const names = fixtures[format].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  }
});

test('odd fields pollute no prototype', () => {
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});
