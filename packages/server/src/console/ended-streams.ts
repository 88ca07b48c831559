import type { GatewayStream } from '../stream/stream.ts';
import type { ServerClock } from '../time/server-clock.ts';
import { shownModel, streamDetail, streamRow } from './rows.ts';
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
    const found: Candidate[] = [];
    for (const candidate of this.#candidates(known)) {
      const { values } = candidate;
      const others = endedFacets.filter((facet) => (query[facet] ?? values[facet]) !== values[facet]);
      const [other] = others;
      if (other === undefined) {
        found.push(candidate);
        for (const facet of endedFacets) count(counts[facet], values[facet]);
      } else if (others.length === 1) {
        // Without the filter that keeps it out, it would be found.
        count(counts[other], values[other]);
      }
    }
    found.sort(newestFirst);
    const { before } = query;
    const from = before === undefined ? 0 : firstAfter(found, before);
    const shown = found.slice(from, from + query.limit);
    const last = shown.at(-1);
    const next = last !== undefined && found.length > from + shown.length ? placeOf(last) : null;
    // Rows are made of what is shown, and not of all that is known.
    const streams = shown.map(({ row }) => row());
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

  /** Finds a stream by its id, or by the id of the request that opened it: the gateway's own, or the provider's. */
  find(id: string, known: Iterable<GatewayStream>): StreamDetail | undefined {
    for (const stream of known) if (isCalled(stream, id)) return streamDetail(stream, this.#clock);
    const dropped = this.#dropped.get(id)?.detail;
    if (dropped !== undefined) return dropped;
    for (const { detail } of this.#dropped.values()) if (isCalled(detail.stream, id)) return detail;
    return undefined;
  }

  *#candidates(known: Iterable<GatewayStream>): Generator<Candidate> {
    const nowMs = this.#clock.nowMs();
    for (const stream of known) {
      const { client, end, id, model, origin } = stream;
      if (end === undefined || stream.isOpen) continue;
      yield {
        id,
        endedAtMs: end.dateMs,
        values: {
          code: end.code ?? '',
          key: client.caller,
          model: shownModel(model),
          provider: origin.name,
          state: end.state,
        },
        row: () => streamRow(stream, nowMs),
      };
    }
    for (const { detail } of this.#dropped.values()) {
      const { client, code, condition, endedAtMs, id, model, provider } = detail.stream;
      yield {
        id,
        endedAtMs: endedAtMs ?? 0,
        values: { code: code ?? '', key: client.caller, model, provider, state: condition },
        row: () => detail.stream,
      };
    }
  }
}

/** A stream that may be in the list. */
interface Candidate {
  readonly id: string;
  readonly endedAtMs: number;
  readonly values: Readonly<Record<EndedFacet, string>>;
  readonly row: () => StreamRow;
}

function newestFirst(a: Candidate, b: Candidate): number {
  return b.endedAtMs - a.endedAtMs || (a.id < b.id ? 1 : -1);
}

/** Where a candidate stands, as `newestFirst` orders them: for a client to hand back. */
function placeOf({ endedAtMs, id }: Pick<Candidate, 'endedAtMs' | 'id'>): string {
  return `${endedAtMs}-${id}`;
}

/** The index of the first candidate behind a place, also if what stood there is gone; the end for what is no place. */
function firstAfter(sorted: readonly Candidate[], place: string): number {
  const [, atMs = '', id = ''] = /^(\d{1,15})-(.*)$/.exec(place) ?? [];
  if (atMs === '') return sorted.length;
  const endedAtMs = Number(atMs);
  const index = sorted.findIndex(
    (candidate) =>
      candidate.endedAtMs < endedAtMs || (candidate.endedAtMs === endedAtMs && candidate.id < id),
  );
  return index < 0 ? sorted.length : index;
}

function count(values: Map<string, number>, value: string): void {
  const seen = values.get(value) ?? 0;
  if (seen > 0 || values.size < maxValues) values.set(value, seen + 1);
}

/**
 * A story takes less memory than that: 3.7 kB were measured of a usual one, 32 kB of the longest. Its strings are
 * bounded: names by their own bounds, messages by the gateway's.
 */
function costOf({ endedReaders, events, refusal, stream }: StreamDetail): number {
  const texts = stream.model.length + (stream.reason?.length ?? 0) + (refusal?.message.length ?? 0);
  return 2600 + 2 * texts + 150 * events.length + 400 * (endedReaders.length + stream.readers.length);
}

function isCalled(
  stream: {
    readonly id: string;
    readonly requestId?: string | null | undefined;
    readonly upstreamRequestId?: string | null | undefined;
  },
  id: string,
): boolean {
  return [stream.id, stream.requestId, stream.upstreamRequestId].includes(id);
}
