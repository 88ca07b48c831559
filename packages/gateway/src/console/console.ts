import type { Config } from '../config/schema.ts';
import type { GatewayStream } from '../stream.ts';
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
  readonly #config: Config;
  readonly #streams: () => Iterable<GatewayStream>;
  readonly #details = new Map<string, SnapshotStream>();
  readonly #timers: readonly NodeJS.Timeout[];
  #overview: SnapshotStream | undefined;

  constructor(config: Config, options: HistoryOptions) {
    this.history = new History(options);
    this.#config = config;
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
        this.#overview = new SnapshotStream(this.#config, () => this.#makeOverview());
      }
      return watched(this.#overview);
    }
    let detail = this.#details.get(name);
    if (detail === undefined) {
      const stream = this.#known(name);
      if (stream === undefined) return undefined;
      detail = new SnapshotStream(this.#config, () => streamDetail(stream, performance.now()));
      this.#details.set(name, detail);
    }
    return watched(detail);
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.history.stop();
  }

  #sample(): void {
    this.history.sample();
    this.#overview?.refresh();
    const nowMs = performance.now();
    this.#overview?.tick(nowMs);
    for (const detail of this.#details.values()) detail.tick(nowMs);
  }

  #refreshDetails(): void {
    for (const [id, detail] of this.#details) {
      detail.refresh();
      const isOver = this.#known(id) === undefined || detail.stream.signal.aborted;
      if (isOver) detail.complete();
      if (isOver || !detail.isWatched) this.#details.delete(id);
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
      for (const reader of stream.readers) lagBytes = Math.max(lagBytes, reader.waitingBytes);
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

/** Its stream. Whoever is about to read it gets the first snapshot at once. */
function watched(snapshots: SnapshotStream): GatewayStream {
  setImmediate(() => snapshots.refresh());
  return snapshots.stream;
}
