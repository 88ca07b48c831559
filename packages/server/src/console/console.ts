import type { Defects } from '../defects.ts';
import { asGatewayError } from '../errors.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { StreamDeadlines } from '../stream/stream-body.ts';
import { History, type HistoryOptions } from './history.ts';
import { streamDetail, streamRow } from './rows.ts';
import type { Overview } from './snapshot.ts';
import { SnapshotStream } from './snapshot-stream.ts';

/** The most streams that an overview shows: those with the greatest lag. */
const maxRows = 1000;
const sampleEveryMs = 1000;
const detailEveryMs = 250;

/** What the console shows: the history of the whole, and streams of snapshots for those who watch. */
export class Console {
  readonly history: History;
  readonly #deadlines: StreamDeadlines;
  readonly #streams: () => Iterable<GatewayStream>;
  readonly #defects: Defects;
  readonly #details = new Map<string, SnapshotStream>();
  readonly #timers: readonly NodeJS.Timeout[];
  #overview: SnapshotStream | undefined;

  constructor(deadlines: StreamDeadlines, options: HistoryOptions & { readonly defects: Defects }) {
    this.#defects = options.defects;
    this.history = new History(options);
    this.#deadlines = deadlines;
    this.#streams = options.streams;
    this.#timers = [
      setInterval(() => this.#sample(), sampleEveryMs).unref(),
      setInterval(() => this.#refreshDetails(), detailEveryMs).unref(),
    ];
  }

  /** The stream of snapshots with that name: `overview`, or the id of a stream that is known. */
  find(name: string): GatewayStream | undefined {
    if (name === 'overview') {
      // Whoever reads it may have cancelled it.
      if (this.#overview?.stream.signal.aborted !== false) {
        this.#overview = new SnapshotStream(this.#deadlines, () => this.#makeOverview(), this.#defects);
      }
      return this.#watched(this.#overview);
    }
    let detail = this.#details.get(name);
    if (detail === undefined) {
      const stream = this.#known(name);
      if (stream === undefined) return undefined;
      const make = (): object => streamDetail(stream, performance.now());
      detail = new SnapshotStream(this.#deadlines, make, this.#defects);
      this.#details.set(name, detail);
    }
    return this.#watched(detail);
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.history.stop();
  }

  #sample(): void {
    this.#defects.contain('sample of the console', () => this.history.sample());
    const nowMs = performance.now();
    const overview = this.#overview;
    if (overview?.stream.signal.aborted === false) {
      this.#contain(overview, () => {
        overview.refresh();
        overview.tick(nowMs);
      });
    }
    for (const detail of this.#details.values()) this.#contain(detail, () => detail.tick(nowMs));
  }

  /** Snapshots that cannot be made end; whoever asks for them again gets new ones. */
  #contain(snapshots: SnapshotStream, work: () => void): void {
    this.#defects.contain('snapshot of the console', work, () => snapshots.fail(asGatewayError(undefined)));
  }

  /** Its stream. Whoever is about to read it gets the first snapshot at once. */
  #watched(snapshots: SnapshotStream): GatewayStream {
    setImmediate(() => this.#contain(snapshots, () => snapshots.refresh()));
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
    const nowMs = performance.now();
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
