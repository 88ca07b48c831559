import type { SinkRecord } from '@spillway/core';
import { RecordJoiner } from '@spillway/core/engine';
import { RecordGap, type SourceItem } from '@spillway/core/source/record-source';
import { compareIds, type EntryId, idAfter, idBefore, numberOfId } from './entry-id.ts';
import { partOf, type RedisEntry } from './stream-entry.ts';

/** What Redis has given at once. */
export interface TakenEntries {
  /** The stream was removed since the last time, and is another one. */
  readonly isForgotten: boolean;
  /** Nothing that was given to this group and not acknowledged is left out. */
  readonly isWhole: boolean;
  /** Ascending. Without fields: the entry was removed after the group had got it. */
  readonly entries: readonly { readonly id: EntryId; readonly fields: RedisEntry['fields'] | undefined }[];
  /** All gaps that were not acknowledged: the name of each, and what `reading-scripts.ts` has written. */
  readonly gaps: readonly (readonly [name: string, text: string])[];
}

/** What is done when an item is: entries and gaps, by their names in Redis. */
export interface DoneWith {
  readonly ids: readonly EntryId[];
  readonly gaps: readonly string[];
}

/** How entries of another program become records. */
export interface ForeignEntries {
  readonly stream: string;
  readonly decode: (entry: RedisEntry) => Uint8Array;
}

interface Given extends DoneWith {
  /** The how many-th. */
  readonly order: number;
}

interface Gap {
  readonly name: string;
  readonly item: RecordGap;
}

/**
 * What a source has made of entries: records that are whole, gaps, and what its caller is done with. What waits here is what one
 * call of Redis has given.
 */
export class ReadingPlace {
  readonly #foreign: ForeignEntries;
  readonly #joiner = new RecordJoiner<EntryId>();
  /** Only for items that somebody still has. */
  readonly #given = new WeakMap<SourceItem, Given>();
  readonly #ready: { readonly item: SourceItem; readonly done: DoneWith }[] = [];
  readonly #known: EntryId[] = [];
  /** The gaps that were told, until Redis names them no more. */
  #told = new Set<string>();
  #cursor: EntryId = '0-0';
  #count = 0;
  #done = 0;

  constructor(foreign: ForeignEntries) {
    this.#foreign = foreign;
  }

  /** The last entry that was taken. */
  get cursor(): EntryId {
    return this.#cursor;
  }

  /** Nothing is ready. */
  get isEmpty(): boolean {
    return this.#ready.length === 0;
  }

  /** Entries that need no acknowledgement: their records were given before. */
  get known(): readonly EntryId[] {
    return this.#known;
  }

  /** The first so many of `known` are acknowledged. */
  dropKnown(count: number): void {
    this.#known.splice(0, count);
  }

  /** Takes what Redis has given. */
  take({ entries, gaps, isForgotten, isWhole }: TakenEntries): void {
    if (isForgotten) this.#cursor = '0-0';
    const untold = this.#untoldOf(gaps);
    let removed: EntryId[] = [];
    for (const { fields, id } of entries) {
      const due = untold.splice(0, untold.filter((gap) => isBefore(gap, id)).length);
      if (fields !== undefined || due.length > 0) {
        this.#tellRemoved(removed);
        removed = [];
      }
      for (const gap of due) this.#tell(gap);
      // It was given before its acknowledgement was lost, as after a failover.
      if (compareIds(id, this.#cursor) <= 0) this.#known.push(id);
      else if (fields === undefined) removed.push(id);
      else this.#add({ id, fields });
      if (compareIds(id, this.#cursor) > 0) this.#cursor = id;
    }
    this.#tellRemoved(removed);
    if (isWhole) for (const gap of untold) this.#tell(gap);
  }

  /** What is ready, as much as fits. */
  give(maxItems: number, maxBytes: number): readonly SourceItem[] {
    const items: SourceItem[] = [];
    let bytes = 0;
    for (const { item } of this.#ready) {
      bytes += item instanceof RecordGap ? 0 : item.value.byteLength;
      if (items.length === maxItems || (items.length > 0 && bytes > maxBytes)) break;
      items.push(item);
    }
    for (const { done, item } of this.#ready.splice(0, items.length)) {
      this.#count += 1;
      this.#given.set(item, { ...done, order: this.#count });
    }
    return items;
  }

  /** What is done when these items are; `undefined`: they are not what was given, or leave some out. */
  doneWith(items: readonly SourceItem[]): (DoneWith & { readonly order: number }) | undefined {
    const ids: EntryId[] = [];
    const gaps: string[] = [];
    let order = this.#done;
    for (const item of items) {
      const given = this.#given.get(item);
      if (given === undefined || given.order > order + 1) return undefined;
      if (given.order <= order) continue;
      ids.push(...given.ids);
      gaps.push(...given.gaps);
      ({ order } = given);
    }
    return { ids, gaps, order };
  }

  /** All items up to this one are acknowledged. */
  acknowledged(order: number): void {
    this.#done = Math.max(this.#done, order);
  }

  #add(entry: RedisEntry): void {
    const part = partOf(entry);
    if (part === undefined) {
      this.#addForeign(entry);
      return;
    }
    const joined = this.#joiner.add(part, entry.id);
    if (joined.kind === 'known') this.#known.push(joined.place);
    for (const { places } of this.#joiner.takeLost()) this.#tellIncomplete(places);
    if (joined.kind === 'record') this.#put(joined.record, { ids: joined.places, gaps: [] });
  }

  #addForeign(entry: RedisEntry): void {
    const { id } = entry;
    const seq = numberOfId(id);
    let value: Uint8Array | undefined;
    try {
      value = this.#foreign.decode(entry);
    } catch {
      // What cannot be read is a gap, and blocks nothing.
    }
    const done = { ids: [id], gaps: [] };
    if (seq === undefined || value === undefined) this.#put(new RecordGap(id, id, 1, 'unreadable'), done);
    else this.#put({ stream: this.#foreign.stream, seq, value } satisfies SinkRecord, done);
  }

  #put(item: SourceItem, done: DoneWith): void {
    this.#ready.push({ item, done });
  }

  #tell(gap: Gap): void {
    this.#told.add(gap.name);
    this.#put(gap.item, { ids: [], gaps: [gap.name] });
  }

  /** Entries that the group had got, and that nobody can get any more. */
  #tellRemoved(ids: readonly EntryId[]): void {
    const [first] = ids;
    const last = ids.at(-1);
    if (first === undefined || last === undefined) return;
    this.#put(new RecordGap(first, last, ids.length, 'removed'), { ids, gaps: [] });
  }

  #tellIncomplete(ids: readonly EntryId[]): void {
    const sorted = ids.toSorted(compareIds);
    const [first = '0-0'] = sorted;
    this.#put(new RecordGap(first, sorted.at(-1) ?? first, 1, 'incomplete'), { ids, gaps: [] });
  }

  #untoldOf(gaps: TakenEntries['gaps']): Gap[] {
    const names = new Set(gaps.map(([name]) => name));
    this.#told = this.#told.intersection(names);
    return gaps
      .filter(([name]) => !this.#told.has(name))
      .map(([name, text]) => ({ name, item: gapOf(text) }))
      .toSorted((one, other) => compareIds(one.item.from, other.item.from));
  }
}

function isBefore({ item }: Gap, id: EntryId): boolean {
  return compareIds(item.from, id) <= 0;
}

function gapOf(text: string): RecordGap {
  const [begin = '', end = '', count = '', reason = ''] = text.split(' ');
  const from = begin.startsWith('=') ? begin.slice(1) : idAfter(begin);
  const to = end.startsWith('<') ? idBefore(end.slice(1)) : end;
  return new RecordGap(
    from,
    compareIds(to, from) < 0 ? from : to,
    count === '-1' ? undefined : Number(count),
    reason,
  );
}
