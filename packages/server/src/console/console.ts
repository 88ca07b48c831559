import type { Timer } from '@spillway/core/clock';
import type { Defects } from '../defects.ts';
import { asGatewayError } from '../errors.ts';
import type { GatewayStream } from '../stream/stream.ts';
import { StreamTokens } from '../stream/stream-token.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { StreamDeadlines } from '../stream/stream-body.ts';
import { History, type HistoryOptions } from './history.ts';
import { streamDetail, streamRow } from './rows.ts';
import type { Overview } from './snapshot.ts';
import { SnapshotStream } from './snapshot-stream.ts';

/** The most streams in an overview: those with the greatest lag. */
const maxRows = 1000;
const sampleEveryMs = 1000;
const detailEveryMs = 250;

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
  #overview: SnapshotStream | undefined;

  constructor(deadlines: StreamDeadlines, options: HistoryOptions & { readonly defects: Defects }) {
    this.#defects = options.defects;
    this.#clock = options.clock;
    this.#tokens = new StreamTokens(options.clock);
    this.history = new History(options);
    this.#deadlines = deadlines;
    this.#streams = options.streams;
    this.#timers = [
      options.clock.every(sampleEveryMs, () => this.#sample()),
      options.clock.every(detailEveryMs, () => this.#refreshDetails()),
    ];
  }

  /** The stream of snapshots with that name: `overview`, or the id of a known stream. */
  find(name: string): GatewayStream | undefined {
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
      if (stream === undefined) return undefined;
      const make = (): object => streamDetail(stream, this.#clock);
      detail = this.#snapshots(make);
      this.#details.set(name, detail);
    }
    return this.#watched(detail);
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
      this.#contain(overview, () => {
        overview.refresh();
        overview.tick(nowMs);
      });
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
        const isOver = this.#known(id) === undefined || detail.stream.signal.aborted;
        if (isOver || !detail.isWatched) this.#details.delete(id);
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
      if (!stream.isLive) continue;
      let lagBytes = 0;
      for (const reader of stream.audience.readers) lagBytes = Math.max(lagBytes, reader.waitingBytes);
      open.push({ stream, lagBytes });
    }
    open.sort((a, b) => b.lagBytes - a.lagBytes || b.stream.startedMs - a.stream.startedMs);
    return {
      totals: this.history.samples.at(-1) ?? this.history.sample(),
      streams: open.slice(0, maxRows).map(({ stream }) => streamRow(stream, nowMs)),
      openStreams: open.length,
    };
  }
}
