import { type JoinedPart, RecordJoiner, type RecordPart } from '@spillway/core/engine';
import { type ReadLimits, RecordGap, type SourceItem } from '@spillway/core/source/record-source';
import { readEntryId } from '../jetstream/entry-id.ts';
import type { Arrival } from './pull-session.ts';
import type { Place, Range } from './reading-place.ts';

/** What came from a stream, or is missing there, until it is acknowledged. */
interface Entry {
  readonly from: number;
  readonly to: number;
  /** `undefined`: a gap. */
  readonly arrival: Arrival | undefined;
  /** When the stream was made that its numbers are of. */
  readonly created: string;
  /** The place while all before it is done, and it is not. */
  readonly behind: number;
  isDone: boolean;
}

/** An item, and what it stands for. */
interface Item {
  readonly item: SourceItem;
  readonly entries: readonly Entry[];
}

/** An item that was given: the how many-th. */
interface Given {
  readonly order: number;
  readonly entries: readonly Entry[];
}

/** Messages that are done while an earlier one waits for the rest of its record. */
const maxDone = 10_000;

/** Makes records of messages, in the order in which they come, and knows what of it is acknowledged. */
export class ArrivedRecords {
  #joiner = new RecordJoiner<Entry>();
  readonly #foreign: (arrival: Arrival) => RecordPart;
  /** What an earlier source of this name has acknowledged behind its place. */
  #skipped: readonly Range[];
  /** When the stream was made that is read now. */
  #created: string;
  /** In the order of their numbers: from the first that is not acknowledged on. */
  readonly #entries: Entry[] = [];
  readonly #ready: Item[] = [];
  /** Only for items that somebody still has. */
  readonly #given = new WeakMap<SourceItem, Given>();
  #givenCount = 0;
  #doneCount = 0;
  /** The last message that has come. */
  #position: number;
  /** The last message of those that are all done. */
  #lastDone: Arrival | undefined;

  /** @param foreign makes a record of a message that is not one of a sink's. */
  constructor({ created, done, seq }: Place, foreign: (arrival: Arrival) => RecordPart) {
    this.#position = seq;
    this.#created = created;
    this.#skipped = done;
    this.#foreign = foreign;
  }

  get position(): number {
    return this.#position;
  }

  get created(): string {
    return this.#created;
  }

  /**
   * The stream is another one, or has lost its end. What was to come of it is a gap, and behind it the messages come that follow
   * this position. The place stays the old one until the gap is done, so that it is told again.
   */
  restart(gap: Range, reason: string, created: string, position: number): void {
    this.#joiner.dropOlder(() => true);
    this.#addLost();
    this.#addGap(gap, reason, undefined, this.#position);
    // Messages of other programs have the same numbers as others had.
    this.#joiner = new RecordJoiner();
    this.#skipped = [];
    this.#created = created;
    this.#position = position;
  }

  /** Messages that have come and are not acknowledged: how many, and when the oldest of them was written. */
  get waiting(): { readonly count: number; readonly oldestMs: number | undefined } {
    const waiting = this.#entries.filter(({ arrival, isDone }) => arrival !== undefined && !isDone);
    return { count: waiting.length, oldestMs: waiting[0]?.arrival?.writtenMs };
  }

  /** Takes a message. `missing`: those before it that are gone. */
  add(arrival: Arrival, missing: Range | undefined): void {
    const { seq } = arrival;
    if (seq <= this.#position) return;
    if (missing !== undefined && !this.#isSkipped(missing))
      this.#addGap(missing, 'removed', missing[1] - missing[0] + 1);
    this.#position = seq;
    const isDone = this.#isSkipped([seq, seq]);
    const entry: Entry = { from: seq, to: seq, arrival, created: this.#created, behind: seq - 1, isDone };
    this.#entries.push(entry);
    if (entry.isDone) return;
    const joined = this.#joiner.add(this.#partOf(arrival), entry);
    this.#addLost();
    this.#addJoined(joined);
  }

  /** Gives what is ready. */
  take({ maxBytes = 1_048_576, maxItems }: ReadLimits): readonly SourceItem[] {
    const items: SourceItem[] = [];
    let bytes = 0;
    for (const { entries, item } of this.#ready) {
      bytes += item instanceof RecordGap ? 0 : item.value.byteLength;
      if (items.length === maxItems || (items.length > 0 && bytes > maxBytes)) break;
      this.#givenCount += 1;
      this.#given.set(item, { order: this.#givenCount, entries });
      items.push(item);
    }
    this.#ready.splice(0, items.length);
    return items;
  }

  /** Marks what is done when these items are, and says how many were not. `undefined`: one was not given, or left out. */
  finish(items: readonly SourceItem[]): number | undefined {
    let count = this.#doneCount;
    const done: Given[] = [];
    for (const item of items) {
      const given = this.#given.get(item);
      if (given === undefined || given.order > count + 1) return undefined;
      if (given.order <= count) continue;
      count = given.order;
      done.push(given);
    }
    this.#doneCount = count;
    for (const { entries } of done) for (const entry of entries) entry.isDone = true;
    return done.length;
  }

  /** The place that is to be kept now, and the last message that it stands for. */
  place(): { readonly place: Place; readonly last: Arrival | undefined } {
    const behind = this.#entries.findIndex(({ isDone }) => !isDone);
    const finished = this.#entries.splice(0, behind === -1 ? this.#entries.length : behind);
    this.#lastDone = finished.findLast(({ arrival }) => arrival !== undefined)?.arrival ?? this.#lastDone;
    const [first] = this.#entries;
    const created = first?.created ?? this.#created;
    const done = this.#entries.filter((entry) => entry.isDone && entry.created === created);
    if (first !== undefined && done.length > maxDone) {
      // The rest of its record does not come. What is behind it must not be remembered for ever.
      this.#joiner.dropOlder((entry) => entry === first);
      this.#addLost();
    }
    const place: Place = {
      created,
      seq: first === undefined ? this.#position : first.behind,
      done: done.map(({ from, to }): Range => [from, to]),
    };
    return { place, last: this.#lastDone };
  }

  #partOf(arrival: Arrival): RecordPart {
    const { data, headers } = arrival.message;
    const id = readEntryId((name) => headers?.get(name) || undefined);
    return id === undefined ? this.#foreign(arrival) : { ...id, value: data };
  }

  #addJoined(joined: JoinedPart<Entry>): void {
    if (joined.kind === 'record') this.#ready.push({ item: joined.record, entries: joined.places });
    if (joined.kind === 'known') joined.place.isDone = true;
  }

  #addGap([from, to]: Range, reason: string, maxRecords: number | undefined, behind = from - 1): void {
    const entry: Entry = { from, to, arrival: undefined, created: this.#created, behind, isDone: false };
    this.#entries.push(entry);
    this.#ready.push({ item: new RecordGap(String(from), String(to), maxRecords, reason), entries: [entry] });
  }

  /** Records of which parts came, and others do not. */
  #addLost(): void {
    for (const { places } of this.#joiner.takeLost()) {
      const gap = new RecordGap(String(places[0]?.from), String(places.at(-1)?.to), 1, 'incomplete');
      this.#ready.push({ item: gap, entries: places });
    }
  }

  #isSkipped([from, to]: Range): boolean {
    return this.#skipped.some((range) => range[0] <= from && to <= range[1]);
  }
}
