import type { KafkaRecord, RecordsBatch } from '@platformatic/kafka';
import type { SinkRecord } from '@spillway/core';
import { RecordJoiner } from '@spillway/core/engine';
import { RecordGap, type SourceItem } from '@spillway/core/source/record-source';
import { toPart } from '../connection/kafka-entry.ts';
import { type OffsetRange, readNote, writeNote } from './place-note.ts';

/** Parts of a record that are older than what is read now by more than this wait in vain: their writer is gone. */
const maxWaitMs = 600_000;
const controlBatch = 0x20;

/** An entry that was read. */
export interface ReadPlace {
  readonly offset: number;
  readonly dateMs: number;
  isDone: boolean;
}

/** An item, and what is done when it is. */
export interface ReadItem {
  readonly item: SourceItem;
  readonly places: readonly ReadPlace[];
}

/** Makes a record of an entry that is none of ours. */
export type DecodeEntry = (
  partition: number,
  entry: KafkaRecord,
  offset: number,
  dateMs: number,
) => SinkRecord;

interface HeldEntry {
  readonly offset: number;
  readonly dateMs: number;
  readonly entry: KafkaRecord;
}

/**
 * Where a source is in one partition: what it has fetched and not given, the parts that wait for others, and what was given and
 * is not done.
 *
 * Kafka keeps one offset for a reader: below it all is done. Where parts of a record wait while others behind them are done,
 * a note beside the offset says so.
 */
export class PartitionReader {
  readonly partition: number;
  /** What is fetched next. */
  position: number;
  /** Up to where what was fetched has been given, or waits for its other parts. */
  #read: number;
  readonly #skip: readonly OffsetRange[];
  readonly #joiner: RecordJoiner<ReadPlace>;
  readonly #decode: DecodeEntry;
  #held: HeldEntry[] = [];
  /** Items that are whole and had no room in a read. */
  readonly #ready: ReadItem[] = [];
  /** What was read and is not done, ascending, and what is done between. */
  #places: ReadPlace[] = [];

  constructor(
    partition: number,
    offset: number,
    note: string,
    options: { readonly maxBytes: number; readonly decode: DecodeEntry },
  ) {
    this.partition = partition;
    this.position = offset;
    this.#read = offset;
    this.#skip = readNote(note);
    this.#joiner = new RecordJoiner({ maxBytes: options.maxBytes });
    this.#decode = options.decode;
  }

  /** The oldest entry that was fetched and not given; `undefined`: there is none. */
  get firstHeld(): number | undefined {
    return this.#held[0]?.offset;
  }

  /** The place that Kafka is to keep. */
  get place(): { readonly offset: number; readonly note: string } {
    const ranges: { from: number; to: number }[] = [];
    let isAfterDone = false;
    for (const { isDone, offset } of this.#places) {
      const last = ranges.at(-1);
      if (isDone && isAfterDone && last !== undefined) last.to = offset;
      else if (isDone) ranges.push({ from: offset, to: offset });
      isAfterDone = isDone;
    }
    return { offset: this.#places[0]?.offset ?? this.#read, note: writeNote(ranges) };
  }

  /** How many entries behind the place are done. */
  get doneBehind(): number {
    const unread = this.#skip.map(({ from, to }) => Math.max(0, to + 1 - Math.max(from, this.#read)));
    return unread.reduce((sum, count) => sum + count, this.#places.filter(({ isDone }) => isDone).length);
  }

  /** Takes what was fetched at the position. */
  hold(batches: readonly RecordsBatch[]): void {
    for (const batch of batches) {
      const first = Number(batch.firstOffset);
      const isControl = (batch.attributes & controlBatch) !== 0;
      for (const entry of isControl ? [] : batch.records) {
        const offset = first + entry.offsetDelta;
        const dateMs = Number(batch.firstTimestamp + entry.timestampDelta);
        if (offset >= this.position) this.#held.push({ offset, dateMs, entry });
      }
      this.position = Math.max(this.position, first + batch.lastOffsetDelta + 1);
    }
    if (this.#held.length === 0 && this.#ready.length === 0) this.#read = this.position;
  }

  /** The log begins there now: what was not given before that is missing. */
  begins(offset: number): void {
    const from = this.#held[0]?.offset ?? this.position;
    if (from >= offset) return;
    this.#held = this.#held.filter((entry) => entry.offset >= offset);
    this.position = Math.max(this.position, offset);
    this.#gap(from, offset - 1, offset - from, 'removed');
  }

  /** The log ends before the position: it was cut, or is another one. It is read from its beginning. */
  endsBefore(begin: number, end: number): void {
    // Until this is done with, Kafka keeps the old place, so that it is told again.
    const place = { offset: this.position, dateMs: 0, isDone: false };
    this.#places = [place];
    this.#ready.push({ item: this.#gapOf(end, this.position - 1, undefined, 'cut'), places: [place] });
    this.position = begin;
    this.#read = begin;
  }

  /** The next item, if it fits: a first one always does. */
  take(maxBytes: number, isFirst: boolean): ReadItem | undefined {
    while (this.#ready.length === 0) {
      const next = this.#held.shift();
      if (next === undefined) {
        this.#read = this.position;
        return undefined;
      }
      this.#join(next);
    }
    const [ready] = this.#ready;
    if (ready === undefined) return undefined;
    const fits = ready.item instanceof RecordGap || ready.item.value.byteLength <= maxBytes;
    return isFirst || fits ? this.#ready.shift() : undefined;
  }

  /** Forgets what is done at the beginning. */
  settle(): void {
    const open = this.#places.findIndex(({ isDone }) => !isDone);
    this.#places = open === -1 ? [] : this.#places.slice(open);
  }

  #join({ dateMs, entry, offset }: HeldEntry): void {
    const place = {
      offset,
      dateMs,
      isDone: this.#skip.some(({ from, to }) => offset >= from && offset <= to),
    };
    this.#places.push(place);
    this.#read = offset + 1;
    if (place.isDone) return;
    const part = toPart(entry);
    if (part === undefined) {
      this.#ready.push({ item: this.#decoded(entry, place), places: [place] });
      return;
    }
    const joined = this.#joiner.add(part, place);
    this.#joiner.dropOlder((older) => older.dateMs < dateMs - maxWaitMs);
    for (const { places } of this.#joiner.takeLost()) {
      const [first = place] = places;
      const { offset: last } = places.at(-1) ?? place;
      this.#ready.push({ item: this.#gapOf(first.offset, last, 1, 'incomplete'), places });
    }
    if (joined.kind === 'record') this.#ready.push({ item: joined.record, places: joined.places });
    else if (joined.kind === 'known') place.isDone = true;
  }

  #decoded(entry: KafkaRecord, { dateMs, offset }: ReadPlace): SourceItem {
    try {
      return this.#decode(this.partition, entry, offset, dateMs);
    } catch {
      return this.#gapOf(offset, offset, 1, 'not decoded');
    }
  }

  #gap(from: number, to: number, maxRecords: number | undefined, reason: string): void {
    const place = { offset: from, dateMs: 0, isDone: false };
    this.#places.push(place);
    this.#read = to + 1;
    this.#ready.push({ item: this.#gapOf(from, to, maxRecords, reason), places: [place] });
  }

  #gapOf(from: number, to: number, maxRecords: number | undefined, reason: string): RecordGap {
    return new RecordGap(`${this.partition}:${from}`, `${this.partition}:${to}`, maxRecords, reason);
  }
}
