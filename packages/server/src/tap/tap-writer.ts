import type { RecordSink, SinkRecord } from '@spillway/core';
import type { ServerClock, ServerTimer } from '../time/server-clock.ts';

/** A failed write is tried again after this time: one try a second, however long the engine is away. */
const retryMs = 1000;
/** The most that one write may have. The rest waits for the next one, in its channels, where it is merged. */
const maxBatchRecords = 1000;
const maxBatchBytes = 4_194_304;

/** One stream's part of what a tap writes. */
export interface Recorder {
  /**
   * Adds records to a write: all that are small, and at most one with chunks. Returns their bytes. What is taken counts
   * as waiting until `kept`, and nothing more is taken before that.
   */
  take(records: SinkRecord[]): number;
  /** What was taken is durable. */
  kept(): void;
  /** The engine was silent for longer than the deadline. */
  engineSilent(): void;
  /** Whether what waits for longer is merged. What is not only fills the stream's room, so it does not rest. */
  readonly isMerged: boolean;
  /** What waits, what was taken included. */
  readonly waitingRecords: number;
  readonly waitingBytes: number;
  /** When the oldest came of what waits. */
  readonly waitingSinceMs: number;
}

/** What a tap's writer tells its owner. */
export interface TapWriterListener {
  /** A write has failed, and the one before it had not. */
  down(error: unknown): void;
  /** A write has failed. */
  failed(): void;
  /** A write was kept, and the one before it had failed. `downMs`: for how long. */
  up(downMs: number): void;
  /** A write was kept. `waitedMs`: how long its oldest record had waited. */
  kept(records: number, bytes: number, waitedMs: number): void;
}

export interface TapWriterOptions {
  readonly sink: RecordSink;
  /** How long one write may take, and how long the engine may keep nothing before recorders are told. */
  readonly deadlineMs: number;
  readonly clock: ServerClock;
  readonly listener: TapWriterListener;
  /**
   * The least time from the beginning of a write to that of the next. What comes meanwhile is one write, and merged where
   * it can be: each record and each write costs CPU. A slower sink is not slowed. Default: 0, for those who wait for
   * every write.
   */
  readonly everyMs?: number;
  /** When to leave parts out of records. Default: never. */
  readonly shed?: { readonly aboveMs: number; readonly belowMs: number } | undefined;
}

interface Batch {
  readonly records: SinkRecord[];
  readonly recorders: Recorder[];
  readonly bytes: number;
  readonly sinceMs: number;
}

/**
 * Writes the records of all streams of a tap to its sink. One write at a time: what comes meanwhile waits in the
 * streams' channels, is merged there, and is the next write. Streams take turns, so that no stream makes another one
 * wait for more than a write. A write that failed is tried again as it was, for its records may be kept.
 */
export class TapWriter {
  readonly #options: TapWriterOptions;
  /** The recorders for which something waits, the longest waiting first. */
  readonly #ready = new Set<Recorder>();
  /** The write that is under way, or has failed and is tried again. */
  #batch: Batch | undefined;
  #isScheduled = false;
  /** Since when the engine has kept nothing, although something was written; `undefined`: it answers. */
  #unkeptSinceMs: number | undefined;
  #downSinceMs: number | undefined;
  #isShedding = false;
  #isClosing = false;
  #isClosed = false;
  /** Runs until the next write may begin. */
  #rest: ServerTimer | undefined;
  #retry: ServerTimer | undefined;
  /** Runs until the engine counts as silent, over all tries of a write. */
  #silence: ServerTimer | undefined;
  #idle: (() => void) | undefined;

  constructor(options: TapWriterOptions) {
    this.#options = options;
  }

  /** Whether the last write has failed. */
  get isDown(): boolean {
    return this.#downSinceMs !== undefined;
  }

  /** Whether the engine has kept nothing for longer than the deadline. */
  get isSilent(): boolean {
    const since = this.#unkeptSinceMs;
    return since !== undefined && this.#options.clock.nowMs() - since >= this.#options.deadlineMs;
  }

  /** Whether parts are left out of records, because the tap lags. */
  get isShedding(): boolean {
    return this.#isShedding;
  }

  /** What waits for the engine, and for how long the oldest of it has. */
  get lag(): { readonly records: number; readonly bytes: number; readonly ms: number } {
    let records = 0;
    let bytes = 0;
    let sinceMs = Infinity;
    for (const recorder of new Set([...(this.#batch?.recorders ?? []), ...this.#ready])) {
      records += recorder.waitingRecords;
      bytes += recorder.waitingBytes;
      sinceMs = Math.min(sinceMs, recorder.waitingSinceMs);
    }
    return { records, bytes, ms: records === 0 ? 0 : Math.max(0, this.#options.clock.nowMs() - sinceMs) };
  }

  /** Something waits for that recorder. */
  wants(recorder: Recorder): void {
    this.#ready.add(recorder);
    if (this.isSilent) recorder.engineSilent();
    if (!recorder.isMerged) this.#endRest();
    this.#schedule();
  }

  /** Writes all that waits, and closes the sink. What is not kept within `timeoutMs` is given up. */
  async close(timeoutMs: number): Promise<void> {
    const { clock, sink } = this.#options;
    this.#isClosing = true;
    this.#endRest();
    if (this.#batch !== undefined || this.#ready.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = clock.after(timeoutMs, resolve);
        this.#idle = () => {
          timer.stop();
          resolve();
        };
      });
    }
    this.#isClosed = true;
    this.#retry?.stop();
    this.#silence?.stop();
    // A disk that hangs does not keep the process.
    await new Promise<void>((resolve) => {
      const timer = clock.after(timeoutMs, resolve);
      sink
        .close()
        .then(resolve, resolve)
        .finally(() => timer.stop());
    });
  }

  /** In a later turn, so that all that comes in this one is one write. */
  #schedule(): void {
    if (this.#isScheduled || this.#batch !== undefined || this.#rest !== undefined || this.#isClosed) return;
    this.#isScheduled = true;
    this.#options.clock.nextTurn(() => {
      this.#isScheduled = false;
      this.#batch ??= this.#collect();
      if (this.#batch === undefined) this.#idle?.();
      else void this.#write(this.#batch);
    });
  }

  #collect(): Batch | undefined {
    const { clock, shed } = this.#options;
    const [first] = this.#ready;
    if (first === undefined) return undefined;
    const records: SinkRecord[] = [];
    const recorders: Recorder[] = [];
    let bytes = 0;
    let sinceMs = clock.nowMs();
    if (shed !== undefined) {
      const lagMs = sinceMs - first.waitingSinceMs;
      this.#isShedding = lagMs > (this.#isShedding ? shed.belowMs : shed.aboveMs);
    }
    for (const recorder of this.#ready) {
      if (records.length >= maxBatchRecords || bytes >= maxBatchBytes) break;
      this.#ready.delete(recorder);
      sinceMs = Math.min(sinceMs, recorder.waitingSinceMs);
      const before = records.length;
      bytes += recorder.take(records);
      if (records.length > before) recorders.push(recorder);
      else recorder.kept();
    }
    return records.length === 0 ? this.#collect() : { records, recorders, bytes, sinceMs };
  }

  async #write(batch: Batch): Promise<void> {
    const { clock, deadlineMs, everyMs = 0, listener, sink } = this.#options;
    const startMs = clock.nowMs();
    const abort = new AbortController();
    const late = clock.after(deadlineMs, () =>
      abort.abort(new Error(`The engine did not answer within ${deadlineMs} ms (deadline).`)),
    );
    if (this.#unkeptSinceMs === undefined) {
      this.#unkeptSinceMs = startMs;
      this.#silence = clock.after(deadlineMs, () => this.#tellSilent());
    }
    try {
      await sink.write(batch.records, abort.signal);
    } catch (error) {
      this.#failed(error);
      return;
    } finally {
      late.stop();
    }
    const nowMs = clock.nowMs();
    this.#unkeptSinceMs = undefined;
    this.#silence?.stop();
    this.#batch = undefined;
    listener.kept(batch.records.length, batch.bytes, nowMs - batch.sinceMs);
    if (this.#downSinceMs !== undefined) listener.up(nowMs - this.#downSinceMs);
    this.#downSinceMs = undefined;
    const restMs = everyMs - (nowMs - startMs);
    if (restMs > 0 && !this.#isClosing) this.#rest = clock.after(restMs, () => this.#endRest());
    for (const recorder of batch.recorders) recorder.kept();
    this.#schedule();
  }

  #endRest(): void {
    this.#rest?.stop();
    this.#rest = undefined;
    if (this.#ready.size > 0) this.#schedule();
  }

  /** Whoever waits is told in time, also while a later try of the write is under way, which has a deadline of its own. */
  #tellSilent(): void {
    for (const recorder of [...(this.#batch?.recorders ?? []), ...this.#ready]) recorder.engineSilent();
  }

  #failed(error: unknown): void {
    const { clock, deadlineMs, listener } = this.#options;
    listener.failed();
    if (this.#downSinceMs === undefined) listener.down(error);
    this.#downSinceMs ??= this.#unkeptSinceMs;
    if (this.isSilent) this.#tellSilent();
    if (this.#isClosed) return;
    this.#retry = clock.after(Math.min(retryMs, deadlineMs), () => {
      if (this.#batch !== undefined) void this.#write(this.#batch);
    });
  }
}
