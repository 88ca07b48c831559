import {
  type ReadLimits,
  RecordGap,
  type RecordSource,
  type SourceItem,
  type SourceLag,
} from '../../src/source/record-source.ts';
import { type SinkRecord, SpillwayError } from '../../src/index.ts';
import type { SourceEngine } from '../../src/testing/index.ts';
import { FailingMemory } from './failing-memory.ts';

/** What is wrong with a source; each is against one rule. */
export interface SourceDefects {
  /** 1: it gives more than was asked for. */
  readonly isGenerous?: boolean;
  /** 1: it does not look at bytes. */
  readonly isHeavy?: boolean;
  /** 1: it gives nothing rather than wait. */
  readonly isHasty?: boolean;
  /** 2: it gives records again. */
  readonly repeats?: boolean;
  /** 2: it gives what it read from the last to the first. */
  readonly isReversed?: boolean;
  /** 2: it gives half of a value. */
  readonly tears?: boolean;
  /** 2: a new name begins with what comes next. */
  readonly startsLate?: boolean;
  /** 3: it goes on behind what was removed, without a word. */
  readonly isSilent?: boolean;
  /** 3: the place of a name is kept when something is acknowledged, and not before. */
  readonly beginsLate?: boolean;
  /** 4: an acknowledgement is not kept. */
  readonly forgets?: boolean;
  /** 4: it refuses what it was told before. */
  readonly isPicky?: boolean;
  /** 4: it takes the last of what is acknowledged for all before it. */
  readonly isTrusting?: boolean;
  /** 5: what was read counts as acknowledged. */
  readonly isRash?: boolean;
  /** 5: all names have one place. */
  readonly shares?: boolean;
  /** 6: what was read counts as done. */
  readonly isOptimistic?: boolean;
  /** 6: what waits has no age. */
  readonly isAgeless?: boolean;
  /** 7: it has rejected once and rejects for ever. */
  readonly sulks?: boolean;
  /** 7: what it was about to give when the engine failed is lost. */
  readonly drops?: boolean;
  /** 7: it rejects with an error of its own. */
  readonly isVague?: boolean;
  /** 8: it waits, whatever the signal says. */
  readonly isDeaf?: boolean;
  /** 8: it rejects an abort with an error of its own. */
  readonly isCurt?: boolean;
  /** 8: what an aborted read would have given is lost. */
  readonly spills?: boolean;
  /** 9: a close does not end a read that waits. */
  readonly strands?: boolean;
  /** 9: a close leaves its connection open. */
  readonly leaks?: boolean;
  /** 10: it goes on after its close. */
  readonly isTireless?: boolean;
  /** 11: a second close rejects. */
  readonly isTouchy?: boolean;
}

/** A queue in memory as an engine. What it keeps has places: 0, 1, 2, … */
export class MemoryQueue extends FailingMemory implements SourceEngine {
  readonly kept: { readonly record: SinkRecord; readonly sinceMs: number }[] = [];
  /** The place of the first record that is still there. */
  first = 0;
  /** The place up to which each name has acknowledged. */
  readonly places = new Map<string, number>();
  readonly #defects: SourceDefects;

  constructor(defects: SourceDefects = {}) {
    super(1, 'source_failed');
    this.#defects = defects;
  }

  open(name: string): RecordSource {
    this.opened();
    return new MemorySource(this, this.#defects.shares ? 'all' : name, this.#defects);
  }

  write(records: readonly SinkRecord[]): void {
    this.kept.push(...records.map((record) => ({ record, sinceMs: performance.now() })));
  }

  trim(count: number): void {
    this.first += count;
  }
}

class MemorySource implements RecordSource {
  readonly #queue: MemoryQueue;
  readonly #name: string;
  readonly #defects: SourceDefects;
  /** Behind which place each item is. */
  readonly #ends = new WeakMap<SourceItem, { readonly from: number; readonly to: number }>();
  readonly #closed = Promise.withResolvers<never>();
  #isClosed = false;
  #hasRejected = false;
  /** The next place to be read. */
  #next: number;
  /** Of what was read: up to where it is acknowledged. */
  #done: number;

  constructor(queue: MemoryQueue, name: string, defects: SourceDefects) {
    this.#queue = queue;
    this.#name = name;
    this.#defects = defects;
    this.#closed.promise.catch(() => undefined);
    this.#next = queue.places.get(name) ?? (defects.startsLate ? queue.kept.length : queue.first);
    this.#done = this.#next;
    if (!defects.beginsLate) queue.places.set(name, this.#next);
  }

  async read({ maxBytes = 1_048_576, maxItems }: ReadLimits, signal: AbortSignal): Promise<SourceItem[]> {
    for (;;) {
      const before = this.#next;
      if (this.#defects.spills && signal.aborted) this.#next += 1;
      await this.#trip(signal, () => {
        if (this.#defects.drops) this.#next = before + 1;
      });
      const items = this.#take(this.#defects.isGenerous ? maxItems + 1 : maxItems, maxBytes);
      if (items.length > 0 || this.#defects.isHasty) return items;
    }
  }

  #take(maxItems: number, maxBytes: number): SourceItem[] {
    const items: SourceItem[] = [];
    const { first, kept } = this.#queue;
    if (this.#next < first) {
      if (!this.#defects.isSilent)
        items.push(
          this.#gave(
            new RecordGap(String(this.#next), String(first - 1), first - this.#next, 'removed'),
            this.#next,
            first,
          ),
        );
      this.#next = first;
    }
    let bytes = 0;
    while (items.length < maxItems) {
      const record = kept[this.#next]?.record;
      if (record === undefined) break;
      bytes += record.value.length;
      if (items.length > 0 && bytes > maxBytes && !this.#defects.isHeavy) break;
      const value = this.#defects.tears ? record.value.subarray(record.value.length / 2) : record.value;
      items.push(this.#gave({ ...record, value }, this.#next, this.#next + 1));
      this.#next += 1;
    }
    if (this.#defects.repeats && items.length > 2) this.#next -= 1;
    if (this.#defects.isRash) this.#queue.places.set(this.#name, this.#next);
    return this.#defects.isReversed ? items.toReversed() : items;
  }

  #gave(item: SourceItem, from: number, to: number): SourceItem {
    this.#ends.set(item, { from, to });
    return item;
  }

  async acknowledge(items: readonly SourceItem[], signal: AbortSignal): Promise<void> {
    let done = this.#done;
    for (const item of items) {
      const place = this.#ends.get(item);
      const isLeftOut =
        place !== undefined && place.from > done && !this.#defects.isTrusting && !this.#defects.isSilent;
      if (place === undefined || isLeftOut || (this.#defects.isPicky && place.to <= done))
        throw this.#isClosed
          ? closed()
          : new SpillwayError('invalid_option', 'expected items as they were read');
      done = Math.max(done, place.to);
    }
    await this.#trip(signal);
    this.#done = done;
    if (!this.#defects.forgets) this.#queue.places.set(this.#name, done);
  }

  async lag(signal: AbortSignal): Promise<SourceLag> {
    await this.#trip(signal);
    const done = this.#defects.isOptimistic ? this.#next : this.#done;
    const waiting = this.#queue.kept.slice(Math.max(done, this.#queue.first));
    const sinceMs = waiting[0]?.sinceMs;
    return {
      records: waiting.length,
      bytes: waiting.reduce((sum, { record }) => sum + record.value.length, 0),
      ms: sinceMs === undefined || this.#defects.isAgeless ? 0 : performance.now() - sinceMs,
    };
  }

  async #trip(signal: AbortSignal, failed: () => void = () => undefined): Promise<void> {
    if (this.#isClosed && !this.#defects.isTireless && !this.#defects.strands) throw closed();
    const aborted = Promise.withResolvers<never>();
    const reason = (): unknown => (this.#defects.isCurt ? new Error('aborted') : signal.reason);
    const abort = (): void => aborted.reject(reason());
    const isDeaf = this.#defects.isDeaf ?? false;
    if (signal.aborted && !isDeaf) throw reason();
    if (!isDeaf) signal.addEventListener('abort', abort, { once: true });
    try {
      if (this.#defects.sulks && this.#hasRejected)
        throw new SpillwayError('source_failed', 'It failed once.');
      const others =
        this.#defects.strands || this.#defects.isTireless
          ? [aborted.promise]
          : [aborted.promise, this.#closed.promise];
      await Promise.race([this.#queue.trip(), ...others]);
    } catch (error) {
      const hasFailed = error instanceof SpillwayError && error.code === 'source_failed';
      this.#hasRejected ||= hasFailed;
      if (hasFailed) failed();
      if (hasFailed && this.#defects.isVague) throw new Error('The queue has failed.', { cause: error });
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  close(): Promise<void> {
    if (this.#isClosed) return this.#defects.isTouchy ? Promise.reject(closed()) : Promise.resolve();
    this.#isClosed = true;
    this.#closed.reject(closed());
    if (!this.#defects.leaks) this.#queue.released();
    return Promise.resolve();
  }
}

function closed(): SpillwayError {
  return new SpillwayError('source_closed', 'The source is closed.');
}
