import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EndedStreams, endedFacets, type EndedQuery } from '../src/console/ended-streams.ts';
import type { EndedPage, StreamRow } from '../src/console/snapshot.ts';
import { GatewayError } from '../src/errors.ts';
import type { GatewayStream } from '../src/stream/stream.ts';
import { nodeClock } from '../src/time/node-clock.ts';
import { openStreams, startStream } from './support/own-streams.ts';

const client = { address: '127.0.0.1', agent: 'test', caller: '', tenant: '' };

interface Ending {
  readonly model: string;
  readonly provider: string;
  readonly key: string;
  readonly how: 'cancelled' | 'completed' | 'failed';
  readonly isDropped: boolean;
}

/** Streams that have ended so, the last one last. */
function endedStreams(endings: readonly Ending[]): { dropped: GatewayStream[]; known: GatewayStream[] } {
  const { streams } = openStreams();
  const dropped: GatewayStream[] = [];
  const known: GatewayStream[] = [];
  for (const { how, isDropped, key, model, provider } of endings) {
    const owner = { model, origin: { name: provider, api: 'openai' }, client: { ...client, caller: key } };
    const { stream } = startStream(streams, owner);
    const code = how === 'failed' ? 'upstream_cut' : 'cancelled';
    const error = how === 'completed' ? undefined : new GatewayError(code, 'It is over.');
    streams.ended(stream, { state: how, error });
    (isDropped ? dropped : known).push(stream);
  }
  return { dropped, known };
}

function remembered(streams: readonly GatewayStream[]): EndedStreams {
  const ended = new EndedStreams(nodeClock);
  for (const stream of streams) ended.add(stream);
  return ended;
}

/** The whole list, part by part. */
function pagesOf(ended: EndedStreams, query: EndedQuery, known: readonly GatewayStream[]): StreamRow[] {
  const rows: StreamRow[] = [];
  let page: EndedPage;
  let before: string | undefined;
  do {
    page = ended.list({ ...query, before }, known);
    rows.push(...page.streams);
    before = page.next ?? undefined;
  } while (before !== undefined);
  return rows;
}

const names = fc.constantFrom('a', 'b', '', '__proto__', 'constructor');
const ending: fc.Arbitrary<Ending> = fc.record({
  model: names,
  provider: fc.constantFrom('p', 'q'),
  key: names,
  how: fc.constantFrom('cancelled', 'completed', 'failed'),
  isDropped: fc.boolean(),
});

test('a list has what was looked for, each once, the newest first, however it is cut into parts', () => {
  fc.assert(
    fc.property(
      fc.array(ending, { maxLength: 30 }),
      fc.record(
        { model: names, provider: fc.constantFrom('p', 'q'), state: fc.constantFrom('failed', 'completed') },
        { requiredKeys: [] },
      ),
      fc.integer({ min: 1, max: 7 }),
      (endings, filter, limit) => {
        const { dropped, known } = endedStreams(endings);
        const ended = remembered(dropped);
        const rows = pagesOf(ended, { ...filter, limit }, known);
        const wanted = endings.filter(
          ({ how, model, provider }) =>
            (filter.model ?? model) === model &&
            (filter.provider ?? provider) === provider &&
            (filter.state ?? how) === how,
        );
        expect(rows).toHaveLength(wanted.length);
        expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
        const times = rows.map(({ endedAtMs }) => endedAtMs ?? 0);
        expect(times).toEqual(times.toSorted((a, b) => b - a));
        // A count is what a click on it finds.
        const page = ended.list({ ...filter, limit }, known);
        expect(page.found).toBe(rows.length);
        for (const facet of endedFacets) {
          const counts = Object.entries(page.counts[facet]);
          for (const [value, count] of counts) {
            const there = ended.list({ ...filter, [facet]: value, limit }, known);
            expect(there.found, `${facet} ${value}`).toBe(count);
          }
          // And no value is missing.
          const without = ended.list({ ...filter, [facet]: undefined, limit }, known);
          expect(counts.reduce((sum, [, count]) => sum + count, 0)).toBe(without.found);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('what is remembered has a bound, and the oldest goes first', () => {
  const many = endedStreams(
    Array.from({ length: 520 }, (_, at) => ({
      model: String(at),
      provider: 'p',
      key: '',
      how: 'failed' as const,
      isDropped: true,
    })),
  ).dropped;
  const ended = remembered(many);
  expect(ended.list({ limit: 1 }, []).found).toBe(500);
  expect(ended.find(many[19]?.id ?? '', [])).toBeUndefined();
  expect(ended.find(many[20]?.id ?? '', [])?.stream.model).toBe('20');
});

test('stories of many entries take the room of many streams', () => {
  const { dropped } = endedStreams(
    Array.from({ length: 400 }, () => ({
      model: 'm',
      provider: 'p',
      key: '',
      how: 'completed' as const,
      isDropped: true,
    })),
  );
  for (const { journal } of dropped) for (let entry = 0; entry < 200; entry += 1) journal.add('retried');
  const found = remembered(dropped).list({ limit: 1 }, []).found;
  // 4 MiB, at about 32 kB each.
  expect(found).toBeGreaterThan(100);
  expect(found).toBeLessThan(150);
});

test('clients who name ever new models do not make the counts grow', () => {
  const { dropped } = endedStreams(
    Array.from({ length: 300 }, (_, at) => ({
      model: `m${at}`,
      provider: 'p',
      key: '',
      how: 'completed' as const,
      isDropped: true,
    })),
  );
  const { counts } = remembered(dropped).list({ limit: 1 }, []);
  expect(Object.keys(counts.model)).toHaveLength(100);
  expect(counts.provider).toEqual({ p: 300 });
});

test('a stream is found by its id and by its request’s, while it is known and when it was dropped', () => {
  const { streams } = openStreams();
  const { stream } = startStream(streams, { requestId: 'request-1', client });
  const ended = new EndedStreams(nodeClock);
  const found = (id: string, known: readonly GatewayStream[]): string | undefined =>
    ended.find(id, known)?.stream.id;
  for (const id of [stream.id, 'request-1']) expect(found(id, [stream])).toBe(stream.id);
  expect(found('request-1', [])).toBeUndefined();
  streams.ended(stream, { state: 'completed', error: undefined });
  ended.add(stream);
  for (const id of [stream.id, 'request-1']) expect(found(id, [])).toBe(stream.id);
  expect(found('request-2', [])).toBeUndefined();
});
