import { type Durability, type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import { expectRecords } from '@spillway/core/sink/expect-records';
import { WriteTurn } from '@spillway/core/sink/write-turn';
import type { ServerClock, ServerTimer } from '../../time/server-clock.ts';
import { hasCode } from './sink-error.ts';
import { type SpillDamage, SpillQueue } from './spill-queue.ts';

/** An engine that is away is tried once in this time, however long it is away. */
const retryMs = 1000;
/** The most of a spill that is in one write to the engine. A record that is larger is written alone. */
const maxDrainRecords = 1000;
const maxDrainBytes = 1_048_576;

/** The bounds of a spill. */
export interface SpillBounds {
  /** The bytes on the disk. A write beyond that rejects, and nothing is lost. Minimum 1. Default: 1 GiB. */
  readonly maxBytes?: number;
  /** An engine that takes longer for a write counts as away, in milliseconds. Minimum 1. Default: 2 seconds. */
  readonly engineTimeoutMs?: number;
  /**
   * The same for what is on the disk already: nobody waits for that, so a slow engine may have more time. In milliseconds.
   * Minimum 1. Default: `engineTimeoutMs`.
   */
  readonly drainTimeoutMs?: number;
}

/** Where a spill is, and its bounds. */
export interface SpillSinkOptions extends SpillBounds {
  /** The folder of the spill, for this sink alone. It is made with mode 0700, and its files with mode 0600. */
  readonly path: string;
  readonly clock: ServerClock;
  /** Is told of what could not be read. Default: nobody; the figures of the sink have it all the same. */
  readonly onDamage?: (damage: SpillDamage) => void;
}

/** A {@link RecordSink} that writes to the disk what its engine cannot take. */
export interface SpillSink extends RecordSink {
  /** The bytes of the spill's files, those with damage included. At most `maxBytes`. */
  readonly spilledBytes: number;
  /** The records that wait on the disk for the engine. */
  readonly spilledRecords: number;
  /** Whether the engine has taken the last write. */
  readonly isEngineUp: boolean;
  /** The records that were on the disk and could not be read again, or that the engine refused as invalid. */
  readonly lostRecords: number;
  /**
   * Puts other bounds in force, from the next write on. What is on the disk stays, also beyond a `maxBytes` that is less.
   *
   * @throws {SpillwayError} `invalid_option`.
   */
  changeBounds(bounds: SpillBounds): void;
}

/**
 * Opens a sink that writes to an engine for as long as it takes the writes, and to a folder when the engine rejects one
 * or takes longer than `engineTimeoutMs`. From then on everything goes to the disk, until all of it was written to the
 * engine, in order: one try a second while the engine is away, then in batches, one at a time. What is on the disk
 * survives crashes and is written first after a restart. It is not read into memory: 1 MiB of it is, or one write that
 * was larger.
 *
 * A resolved write is in the engine, or synced on this disk; `durability` is the engine's. A record may be written to the
 * engine twice, as after a crash, and is there once, because the engine knows a record's id. When both the disk and the
 * engine cannot take a write it rejects with `sink_failed`: what happens then is the caller's policy.
 *
 * What a crash has cut was never acknowledged, and is left out. Of a file that was damaged otherwise all records that can
 * be read are written to the engine; the file is then kept as `….damaged`, and `onDamage` is told.
 *
 * @param engine is closed with the sink, and when the sink cannot be opened. One that refuses records for ever
 *   (`records_refused`) needs `openDeadLetterSink` around it, or the first such record stops all behind it.
 * @throws {SpillwayError} `sink_failed` when the folder cannot be used; `invalid_option`.
 * @example
 * ```ts
 * const sink = await openSpillSink(await openMyEngine(), { path: '/var/lib/spillway/overnight', clock: nodeClock });
 * ```
 */
export async function openSpillSink(engine: RecordSink, options: SpillSinkOptions): Promise<SpillSink> {
  const { path, clock, onDamage } = options;
  const bounds = boundsOf(options);
  const losses = { records: 0 };
  const queue = await SpillQueue.open(path, {
    maxBytes: bounds.maxBytes,
    onDamage(damage) {
      losses.records += damage.records;
      onDamage?.(damage);
    },
  }).catch(async (error: unknown) => {
    await engine.close();
    if (error instanceof SpillwayError) throw error;
    throw failed(`The spill ${path} could not be opened: expected a folder to read and write.`, error);
  });
  return new OpenSpillSink(engine, queue, losses, bounds, clock);
}

function boundsOf({
  maxBytes = 1_073_741_824,
  engineTimeoutMs = 2000,
  drainTimeoutMs = engineTimeoutMs,
}: SpillBounds): Required<SpillBounds> {
  const bounds = { maxBytes, engineTimeoutMs, drainTimeoutMs };
  for (const [name, value] of Object.entries(bounds)) {
    if (!(value >= 1))
      throw new SpillwayError('invalid_option', `${name}: expected 1 or more, got ${value}.`);
  }
  return bounds;
}

class OpenSpillSink implements SpillSink {
  isEngineUp = true;
  readonly #engine: RecordSink;
  readonly #queue: SpillQueue;
  readonly #losses: { records: number };
  #bounds: Required<SpillBounds>;
  readonly #clock: ServerClock;
  readonly #turn = new WriteTurn('The spill');
  /** Ends the write to the engine that is under way. There is one at most. */
  #abort: AbortController | undefined;
  /** Writes to the engine what is on the disk; never rejects. */
  #draining: Promise<void> | undefined;
  /** The most records of the next write to the engine: fewer after one that was too much for it. */
  #drainRecords = maxDrainRecords;
  #pause: { readonly timer: ServerTimer; readonly end: () => void } | undefined;

  constructor(
    engine: RecordSink,
    queue: SpillQueue,
    losses: { records: number },
    bounds: Required<SpillBounds>,
    clock: ServerClock,
  ) {
    this.#engine = engine;
    this.#queue = queue;
    this.#losses = losses;
    this.#bounds = bounds;
    this.#clock = clock;
    this.#startDrain();
  }

  get durability(): Durability {
    return this.#engine.durability;
  }

  get spilledBytes(): number {
    return this.#queue.bytes;
  }

  get spilledRecords(): number {
    return this.#queue.records;
  }

  get lostRecords(): number {
    return this.#losses.records;
  }

  changeBounds(bounds: SpillBounds): void {
    this.#bounds = boundsOf(bounds);
    this.#queue.maxBytes = this.#bounds.maxBytes;
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    return this.#turn.write(signal, () => this.#write(records, signal));
  }

  close(): Promise<void> {
    return this.#turn.close(async (work) => {
      this.#abort?.abort(
        new SpillwayError('sink_closed', 'The spill was closed while it wrote to its engine.'),
      );
      this.#pause?.timer.stop();
      this.#pause?.end();
      await work;
      await this.#draining;
      try {
        await this.#queue.close();
      } finally {
        await this.#engine.close();
      }
    });
  }

  async #write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    if (records.length === 0) return;
    expectRecords(records);
    if (this.#queue.isEmpty) {
      try {
        await this.#writeToEngine(records, this.#bounds.engineTimeoutMs, signal);
        return;
      } catch (error) {
        if (signal.aborted || isRefusal(error)) throw error;
      }
    }
    await this.#queue.append(records).catch((error: unknown) => {
      throw error instanceof SpillwayError
        ? error
        : failed('Neither the engine nor the disk of its spill took the records.', error);
    });
    this.#startDrain();
  }

  async #writeToEngine(
    records: readonly SinkRecord[],
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    const forward = (): void => abort.abort(signal?.reason);
    signal?.addEventListener('abort', forward);
    const late = this.#clock.after(timeoutMs, () =>
      abort.abort(new SpillwayError('sink_failed', `The engine took longer than ${timeoutMs} ms.`)),
    );
    try {
      await this.#engine.write(records, abort.signal);
      this.isEngineUp = true;
    } catch (error) {
      if (signal?.aborted !== true && !isRefusal(error)) this.isEngineUp = false;
      throw error;
    } finally {
      late.stop();
      signal?.removeEventListener('abort', forward);
    }
  }

  #startDrain(): void {
    if (!this.#queue.isEmpty && !this.#turn.isClosed) this.#draining ??= this.#drain();
  }

  async #drain(): Promise<void> {
    if (!this.isEngineUp) await this.#wait();
    while (!this.#queue.isEmpty && !this.#turn.isClosed) {
      // A disk that fails is tried again as an engine is.
      const goesOn = await this.#drainSome().catch(() => false);
      if (!goesOn && !this.#turn.isClosed) await this.#wait();
    }
    this.#draining = undefined;
  }

  /** Writes the next records to the engine. Resolves with whether there is something to do at once. */
  async #drainSome(): Promise<boolean> {
    const records = await this.#queue.next(this.#drainRecords, maxDrainBytes);
    if (records === undefined) return true;
    try {
      await this.#writeToEngine(records, this.#bounds.drainTimeoutMs);
      this.#drainRecords = Math.min(maxDrainRecords, this.#drainRecords * 2);
    } catch (error) {
      const isLast = records.length === 1 && isRefusal(error);
      if (!isLast) {
        this.#drainRecords = Math.max(1, records.length >> 1);
        return isRefusal(error);
      }
      // The engine will never take this one, and the others wait.
      this.#losses.records += 1;
    }
    await this.#queue.took(records.length);
    return true;
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(retryMs, () => {
        this.#pause = undefined;
        resolve();
      });
      this.#pause = { timer, end: resolve };
    });
  }
}

/** Whether the engine says that it will never take a record. */
function isRefusal(error: unknown): boolean {
  return hasCode(error, 'invalid_option');
}

function failed(message: string, cause: unknown): SpillwayError {
  return new SpillwayError('sink_failed', message, { cause });
}
