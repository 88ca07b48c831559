import type { GatewayStream } from '../stream/stream.ts';
import type { ServerClock } from '../time/server-clock.ts';
import { streamDetail, streamRow } from './rows.ts';
import type { EndedFacet, EndedPage, StreamDetail, StreamRow } from './snapshot.ts';

/** The most streams that are remembered after they were dropped, and the most bytes of these. */
const maxStreams = 500;
const maxBytes = 4_194_304;
/** The most values of a facet that are counted: clients choose the names of models. */
const maxValues = 100;
/** The most streams in one part of the list. */
export const maxPageStreams = 200;

export const endedFacets = [
  'state',
  'provider',
  'model',
  'key',
  'code',
] as const satisfies readonly EndedFacet[];

/** What is looked for. A facet that is not named does not filter. */
export interface EndedQuery extends Readonly<Partial<Record<EndedFacet, string | undefined>>> {
  /** At most {@link maxPageStreams}. */
  readonly limit: number;
  /** `next` of the part before. Default: the newest. */
  readonly before?: string | undefined;
}

/**
 * What ended streams were: those that are known still, and the latest of those that were dropped. Streams ≤ 500 and
 * bytes ≤ 4 MiB of these always. Nothing of a prompt or an answer is kept.
 */
export class EndedStreams {
  readonly #clock: ServerClock;
  /** The dropped ones, by id, the oldest first. */
  readonly #dropped = new Map<string, { readonly detail: StreamDetail; readonly bytes: number }>();
  #bytes = 0;

  constructor(clock: ServerClock) {
    this.#clock = clock;
  }

  add(stream: GatewayStream): void {
    const detail = streamDetail(stream, this.#clock);
    const bytes = costOf(detail);
    this.#dropped.set(stream.id, { detail, bytes });
    this.#bytes += bytes;
    for (const [id, oldest] of this.#dropped) {
      if (this.#dropped.size <= maxStreams && this.#bytes <= maxBytes) break;
      this.#dropped.delete(id);
      this.#bytes -= oldest.bytes;
    }
  }

  list(query: EndedQuery, known: Iterable<GatewayStream>): EndedPage {
    // Maps, because clients name models: an object has names of its own.
    const counts = {
      code: new Map<string, number>(),
      key: new Map<string, number>(),
      model: new Map<string, number>(),
      provider: new Map<string, number>(),
      state: new Map<string, number>(),
    };
    const found: StreamRow[] = [];
    for (const row of this.#rows(known)) {
      const values = facetsOf(row);
      const others = endedFacets.filter((facet) => (query[facet] ?? values[facet]) !== values[facet]);
      const [other] = others;
      if (other === undefined) {
        found.push(row);
        for (const facet of endedFacets) count(counts[facet], values[facet]);
      } else if (others.length === 1) {
        // Without the filter that keeps it out, it would be found.
        count(counts[other], values[other]);
      }
    }
    found.sort((a, b) => (placeIn(a) < placeIn(b) ? 1 : -1));
    const { before } = query;
    const older = before === undefined ? found : found.filter((row) => placeIn(row) < before);
    const streams = older.slice(0, query.limit);
    const last = streams.at(-1);
    const next = last !== undefined && older.length > streams.length ? placeIn(last) : null;
    const { code, key, model, provider, state } = counts;
    return {
      streams,
      found: found.length,
      next,
      counts: {
        code: Object.fromEntries(code),
        key: Object.fromEntries(key),
        model: Object.fromEntries(model),
        provider: Object.fromEntries(provider),
        state: Object.fromEntries(state),
      },
    };
  }

  find(id: string, known: Iterable<GatewayStream>): StreamDetail | undefined {
    for (const stream of known) if (stream.id === id) return streamDetail(stream, this.#clock);
    return this.#dropped.get(id)?.detail;
  }

  *#rows(known: Iterable<GatewayStream>): Generator<StreamRow> {
    const nowMs = this.#clock.nowMs();
    for (const stream of known) {
      if (stream.end !== undefined && !stream.isOpen) yield streamRow(stream, nowMs);
    }
    for (const { detail } of this.#dropped.values()) yield detail.stream;
  }
}

function facetsOf({ client, code, condition, model, provider }: StreamRow): Record<EndedFacet, string> {
  return { code: code ?? '', key: client.caller, model, provider, state: condition };
}

function count(values: Map<string, number>, value: string): void {
  const seen = values.get(value) ?? 0;
  if (seen > 0 || values.size < maxValues) values.set(value, seen + 1);
}

/** Orders rows by the time of their end, as text of one length. */
function placeIn({ endedAtMs, id }: StreamRow): string {
  return `${String(endedAtMs ?? 0).padStart(15, '0')}-${id}`;
}

/** A story takes less memory than that: 3.7 kB were measured of a usual one, 32 kB of the longest. Its strings are bounded: names by their own bounds, messages by the gateway's. */
function costOf({ endedReaders, events, refusal, stream }: StreamDetail): number {
  const texts = stream.model.length + (stream.reason?.length ?? 0) + (refusal?.message.length ?? 0);
  return 2600 + 2 * texts + 150 * events.length + 400 * (endedReaders.length + stream.readers.length);
}
