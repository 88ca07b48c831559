import { type RefusedRecord, RefusedRecords } from '../../src/engine/index.ts';
import { type RecordSink, type SinkRecord, SpillwayError } from '../../src/index.ts';
import type { SinkEngine } from '../../src/testing/index.ts';
import { FailingMemory } from './failing-memory.ts';

/** What is wrong with a sink; each is against one rule. */
export interface SinkDefects {
  /** 1: it resolves before the records are there. */
  readonly isHasty?: boolean;
  /** 1: it keeps the records of a batch from the last to the first. */
  readonly isReversed?: boolean;
  /** 2: what a rejected write leaves behind is cut. */
  readonly tears?: boolean;
  /** 3: it does not look whether it has a record. */
  readonly repeats?: boolean;
  /** 3: it knows only what it has written itself. */
  readonly forgets?: boolean;
  /** 4: it has rejected once and rejects for ever. */
  readonly sulks?: boolean;
  /** 4: it resolves although the engine has failed. */
  readonly lies?: boolean;
  /** 5: it has no use for an empty list. */
  readonly isPicky?: boolean;
  /** 6: it waits for the engine, whatever the signal says. */
  readonly isDeaf?: boolean;
  /** 6: it rejects with an error of its own. */
  readonly isCurt?: boolean;
  /** 7: a close does not wait. */
  readonly hurries?: boolean;
  /** 7: a close leaves its connection open. */
  readonly leaks?: boolean;
  /** 8: it writes on after a close. */
  readonly isTireless?: boolean;
  /** 9: a second close rejects. */
  readonly isTouchy?: boolean;
  /** 10: what the engine refuses takes the rest of its batch with it. */
  readonly isSpiteful?: boolean;
  /** 10: it resolves without a record that was refused. */
  readonly hushes?: boolean;
}

/** An engine in memory. A batch is kept record by record, with time between them in which the engine can fail. */
export class MemoryEngine extends FailingMemory implements SinkEngine {
  readonly remembers = true;
  readonly #kept: SinkRecord[] = [];
  readonly #ids = new Set<string>();
  readonly #defects: SinkDefects;
  readonly #refused = new Set<string>();

  constructor(defects: SinkDefects = {}) {
    super(3, 'sink_failed');
    this.#defects = defects;
  }

  open(): RecordSink {
    this.opened();
    return new MemorySink(this, this.#defects);
  }

  records(): readonly SinkRecord[] {
    return this.#kept;
  }

  has(record: SinkRecord): boolean {
    return this.#ids.has(idOf(record));
  }

  keep(record: SinkRecord): void {
    this.#kept.push(record);
    this.#ids.add(idOf(record));
  }

  refuses(record: SinkRecord): boolean {
    return this.#refused.has(idOf(record));
  }

  refuse(record: SinkRecord): void {
    this.#refused.add(idOf(record));
  }
}

class MemorySink implements RecordSink {
  readonly durability = 'memory';
  readonly #engine: MemoryEngine;
  readonly #defects: SinkDefects;
  readonly #own = new Set<string>();
  #writing: Promise<void> = Promise.resolve();
  #isClosed = false;
  #hasRejected = false;

  constructor(engine: MemoryEngine, defects: SinkDefects) {
    this.#engine = engine;
    this.#defects = defects;
  }

  async write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    if (this.#isClosed && !this.#defects.isTireless)
      throw new SpillwayError('sink_closed', 'The sink is closed.');
    if (this.#defects.isPicky && records.length === 0) throw new TypeError('Expected records, got none.');
    if (this.#defects.sulks && this.#hasRejected) throw new SpillwayError('sink_failed', 'It failed once.');
    const writing = this.#writeAll(records, signal).catch((error: unknown) => {
      this.#hasRejected = true;
      throw error;
    });
    this.#writing = writing.catch(() => undefined);
    if (this.#defects.isHasty) return;
    await (this.#defects.lies ? this.#writing : writing);
  }

  async #writeAll(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    const batch = this.#defects.isReversed ? records.toReversed() : records;
    if (!this.#defects.isDeaf) signal.throwIfAborted();
    const refused: RefusedRecord[] = [];
    for (const [index, record] of batch.entries()) {
      if (index % 10 === 0) await this.#tripFor(record, signal);
      if (this.#engine.refuses(record)) {
        refused.push({ record, reason: 'it was told to' });
        if (this.#defects.isSpiteful) break;
        continue;
      }
      if (!this.#has(record)) this.#engine.keep(record);
      this.#own.add(idOf(record));
    }
    if (refused.length > 0 && !this.#defects.hushes) throw new RefusedRecords(refused);
  }

  async #tripFor(record: SinkRecord, signal: AbortSignal): Promise<void> {
    try {
      await this.#trip(signal);
    } catch (error) {
      const value = record.value.subarray(record.value.length / 2);
      if (this.#defects.tears && !this.#has(record)) this.#engine.keep({ ...record, value });
      throw error;
    }
  }

  async #trip(signal: AbortSignal): Promise<void> {
    const trip = this.#engine.trip();
    if (this.#defects.isDeaf) return trip;
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(this.#defects.isCurt ? new Error('aborted') : signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await Promise.race([trip, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  #has(record: SinkRecord): boolean {
    if (this.#defects.repeats) return false;
    if (this.#defects.forgets) return this.#own.has(idOf(record));
    return this.#engine.has(record);
  }

  async close(): Promise<void> {
    if (this.#isClosed) {
      if (this.#defects.isTouchy) throw new SpillwayError('sink_closed', 'The sink is closed already.');
      return;
    }
    this.#isClosed = true;
    if (!this.#defects.hurries) await this.#writing;
    if (!this.#defects.leaks) this.#engine.released();
  }
}

function idOf({ stream, seq }: SinkRecord): string {
  return `${stream} ${seq}`;
}
