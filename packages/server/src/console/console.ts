import type { Timer } from '@spillway/core/clock';
import type { Defects } from '../defects.ts';
import { asGatewayError, GatewayError } from '../errors.ts';
import type { GatewayStream } from '../stream/stream.ts';
import { StreamTokens } from '../stream/stream-token.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { StreamDeadlines } from '../stream/stream-body.ts';
import { History, type HistoryOptions } from './history.ts';
import { streamDetail, streamRow } from './rows.ts';
import { EndedStreams } from './ended-streams.ts';
import type { BrokenModel, EndedPage, Overview, StreamDetail } from './snapshot.ts';
import { SnapshotStream } from './snapshot-stream.ts';
import type { EndedQuery } from './ended-streams.ts';

/** The most streams in an overview: those with the greatest lag. */
const maxRows = 1000;
/** A provider that is down has as many broken models as it is asked for. */
const maxBroken = 20;
const sampleEveryMs = 1000;
const detailEveryMs = 250;
/** The most streams of details; beyond it those that nobody watches are not kept for watchers that come back. */
const maxDetails = 64;

/** Those that may be tried now come last: they are asked. */
function nextTryMs({ closedMs }: BrokenModel): number {
  return closedMs === 0 ? Number.MAX_SAFE_INTEGER : closedMs;
}

export interface ConsoleOptions extends HistoryOptions {
  /** What else pages may watch, four times a second, by the name of its stream. Default: nothing. */
  readonly pages?: Readonly<Record<string, () => object>>;
  /** The models of providers that failed too often. Default: nobody looks at that. */
  readonly broken?: () => readonly BrokenModel[];
  readonly defects: Defects;
}

/** The data of the console: the gateway's history, and streams of snapshots for the pages that watch. */
export class Console {
  readonly history: History;
  readonly #deadlines: StreamDeadlines;
  readonly #streams: () => Iterable<GatewayStream>;
  readonly #defects: Defects;
  readonly #details = new Map<string, SnapshotStream>();
  readonly #timers: readonly Timer[];
  readonly #clock: ServerClock;
  readonly #tokens: StreamTokens;
  readonly #ended: EndedStreams;
  readonly #pages: ReadonlyMap<string, () => object>;
  readonly #broken: () => readonly BrokenModel[];
  #overview: SnapshotStream | undefined;
  /** Whether the latest sample is of this turn. */
  #isSampled = false;

  constructor(deadlines: StreamDeadlines, options: ConsoleOptions) {
    this.#defects = options.defects;
    this.#clock = options.clock;
    this.#tokens = new StreamTokens(options.clock);
    this.history = new History(options);
    this.#deadlines = deadlines;
    this.#streams = options.streams;
    this.#pages = new Map(Object.entries(options.pages ?? {}));
    this.#broken = options.broken ?? (() => []);
    this.#ended = new EndedStreams(options.clock);
    this.#timers = [
      options.clock.every(sampleEveryMs, () => this.#sample()),
      options.clock.every(detailEveryMs, () => this.#refreshDetails()),
    ];
  }

  /**
   * The stream of snapshots with that name: `overview`, one of `pages`, or the id of a known stream. Or with that token, for a watcher
   * that comes back after its connection was lost.
   */
  find(name: string): GatewayStream | undefined {
    for (const snapshots of [this.#overview, ...this.#details.values()]) {
      if (snapshots?.stream.token === name && !snapshots.stream.signal.aborted)
        return this.#watched(snapshots);
    }
    if (name === 'overview') {
      // A reader of the snapshots may have cancelled their stream.
      if (this.#overview?.stream.signal.aborted !== false) {
        this.#overview = this.#snapshots(() => this.#makeOverview());
      }
      return this.#watched(this.#overview);
    }
    let detail = this.#details.get(name);
    if (detail === undefined) {
      const stream = this.#known(name);
      const make =
        stream === undefined ? this.#pages.get(name) : (): object => streamDetail(stream, this.#clock);
      if (make === undefined) return undefined;
      detail = this.#snapshots(make);
      this.#details.set(name, detail);
    }
    return this.#watched(detail);
  }

  /**
   * The stream is not known from now on: what it was is kept for people. Not of the program's own (`origin.isOwn`): one
   * every few seconds would push out those that people look for.
   */
  dropped(stream: GatewayStream): void {
    if (stream.origin.isOwn !== true) this.#ended.add(stream);
  }

  /** Cancels a stream for an operator. Returns whether there was one whose provider was at work. */
  cancelStream(id: string): boolean {
    const stream = this.#known(id);
    if (stream === undefined || stream.end !== undefined || stream.signal.aborted) return false;
    stream.cancel(new GatewayError('cancelled', 'An operator of the gateway cancelled the stream.'));
    return true;
  }

  /** Detaches a reader for an operator: its stream goes on for the others. Returns whether there was one. */
  detachReader(id: string, number: number): boolean {
    for (const reader of this.#known(id)?.audience.readers ?? []) {
      if (reader.number !== number) continue;
      reader.close(new GatewayError('cancelled', 'An operator of the gateway detached this reader.'));
      return true;
    }
    return false;
  }

  /** Streams that have ended: those that can still be read, and the latest of the others. */
  endedStreams(query: EndedQuery): EndedPage {
    return this.#ended.list(query, this.#ofOthers());
  }

  /** The story of one stream that has ended. */
  endedStream(id: string): StreamDetail | undefined {
    return this.#ended.find(id, this.#streams());
  }

  *#ofOthers(): Generator<GatewayStream> {
    for (const stream of this.#streams()) if (stream.origin.isOwn !== true) yield stream;
  }

  #snapshots(make: () => object): SnapshotStream {
    return new SnapshotStream(this.#deadlines, make, this.#defects, this.#clock, this.#tokens);
  }

  close(): void {
    for (const timer of this.#timers) timer.stop();
    this.history.stop();
  }

  #sample(): void {
    this.#defects.contain('sample of the console', () => this.history.sample());
    const nowMs = this.#clock.nowMs();
    const overview = this.#overview;
    if (overview?.stream.signal.aborted === false) {
      this.#isSampled = true;
      this.#contain(overview, () => {
        overview.refresh();
        overview.tick(nowMs);
      });
      this.#isSampled = false;
    }
    for (const detail of this.#details.values()) this.#contain(detail, () => detail.tick(nowMs));
  }

  /** Ends a stream of snapshots whose snapshot cannot be made. The next request opens a new stream. */
  #contain(snapshots: SnapshotStream, work: () => void): void {
    this.#defects.contain('snapshot of the console', work, () => snapshots.fail(asGatewayError(undefined)));
  }

  /** The stream of these snapshots. A reader that attaches now gets the first snapshot in the next turn. */
  #watched(snapshots: SnapshotStream): GatewayStream {
    this.#clock.nextTurn(() => this.#contain(snapshots, () => snapshots.refresh()));
    return snapshots.stream;
  }

  #refreshDetails(): void {
    for (const [id, detail] of this.#details) {
      this.#contain(detail, () => {
        const isGone = this.#known(id) === undefined && !this.#pages.has(id);
        const isOver = isGone || detail.stream.signal.aborted;
        const isLeft = detail.unwatchedMs > this.#deadlines.detachGraceMs || this.#details.size > maxDetails;
        if (isOver || (!detail.isWatched && isLeft)) this.#details.delete(id);
        detail.refresh();
        if (isOver) detail.complete();
      });
    }
  }

  #known(id: string): GatewayStream | undefined {
    for (const stream of this.#streams()) if (stream.id === id) return stream;
    return undefined;
  }

  #makeOverview(): Overview {
    const nowMs = this.#clock.nowMs();
    const open: { readonly stream: GatewayStream; readonly lagBytes: number }[] = [];
    for (const stream of this.#streams()) {
      if (!stream.isOpen) continue;
      let lagBytes = 0;
      for (const reader of stream.audience.readers) lagBytes = Math.max(lagBytes, reader.waitingBytes);
      open.push({ stream, lagBytes });
    }
    const broken = this.#broken();
    open.sort((a, b) => b.lagBytes - a.lagBytes || b.stream.startedMs - a.stream.startedMs);
    return {
      // A sample of another turn has other counts than the rows.
      totals: (this.#isSampled ? this.history.samples.at(-1) : undefined) ?? this.history.now(),
      streams: open.slice(0, maxRows).map(({ stream }) => streamRow(stream, nowMs)),
      openStreams: open.length,
      taps: this.history.taps,
      pressureChanges: this.history.pressureChanges,
      broken: broken.toSorted((a, b) => nextTryMs(a) - nextTryMs(b)).slice(0, maxBroken),
      allBroken: broken.length,
    };
  }
}
