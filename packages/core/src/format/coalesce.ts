import { SpillwayError } from '../errors.ts';
import { type Merge, type MergedChunk, mergePairs } from '../merge.ts';
import { CoalescedRun, type Part } from './coalesced-run.ts';
import { copyOf, type DeltaEvent, mergeDeltas, openDelta } from './delta-event.ts';
import { DeltaGrowth } from './delta-growth.ts';
import { createDissect, type DeltaRule, type Dissect } from './delta-rule.ts';
import { eventAt } from './sse-events.ts';
import type { EventRun } from './sse.ts';

/** The bound on merging. */
export interface CoalesceOptions {
  /**
   * The largest event that merging makes, in bytes. Minimum 1, default 16 KiB (16,384). Text that would make an event
   * larger starts the next event.
   */
  readonly maxEventBytes?: number;
}

type MergeTwo = (first: EventRun, second: EventRun) => CoalescedRun | undefined;

/**
 * Merges the events of Server-Sent Events streams as a format's rule says, without loss: a channel's `merge` for runs
 * of events.
 *
 * Text that adds up is joined inside the provider's own bytes. No JSON is written anew, so numbers and escapes stay as
 * they were. An event with a value that no rule knows, and that may add up, stays as it came; order never changes. An
 * event is looked at once, however often its run is merged. Bytes are only put together when `bytes` is read.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const channel = openChannel<EventRun>({
 *   maxBytes: 65_536,
 *   weigh: (run) => run.byteLength,
 *   merge: createCoalesce(openaiChat.delta),
 * });
 * ```
 */
export function createCoalesce(
  rule: DeltaRule,
  { maxEventBytes = 16_384 }: CoalesceOptions = {},
): Merge<EventRun> {
  if (!(maxEventBytes >= 1)) {
    throw new SpillwayError(
      'invalid_option',
      `maxEventBytes: expected 1 or more bytes, got ${maxEventBytes}.`,
    );
  }
  let coalescer: Coalescer | undefined;
  // Created on first use, because most streams never merge.
  const made = (): Coalescer => (coalescer ??= new Coalescer(rule, maxEventBytes));
  const mergeTwo: Merge<EventRun> = (first, second) => made().mergeTwo(first, second);
  return Object.assign(mergeTwo, {
    all: (runs: readonly EventRun[], fits: (merged: EventRun) => boolean) => made().mergeAll(runs, fits),
    forget: () => (coalescer = undefined),
  });
}

/** Merges the events of one stream. */
class Coalescer {
  readonly #anatomist: Anatomist;
  readonly #maxEventBytes: number;
  readonly #opened = new WeakMap<EventRun, CoalescedRun>();

  constructor(rule: DeltaRule, maxEventBytes: number) {
    this.#anatomist = new Anatomist(createDissect(rule), maxEventBytes);
    this.#maxEventBytes = maxEventBytes;
  }

  mergeTwo(first: EventRun, second: EventRun): CoalescedRun | undefined {
    const maxEventBytes = this.#maxEventBytes;
    const a = this.#open(first);
    const grown = second instanceof CoalescedRun ? undefined : grow(a, second, maxEventBytes);
    if (grown !== undefined) return grown;
    const b = this.#open(second);
    const mergedEvents = a.mergedEvents + b.mergedEvents;
    const merged = joinRuns(a.parts, b.parts, a.events + b.events, mergedEvents, maxEventBytes);
    const isJoined =
      merged.byteLength < first.byteLength + second.byteLength ||
      areHeldBack(a.parts.at(-1), b.parts[0], maxEventBytes);
    return isJoined ? merged : undefined;
  }

  mergeAll(runs: readonly EventRun[], fits: (merged: EventRun) => boolean): MergedChunk<EventRun>[] {
    const mergeTwo: MergeTwo = (first, second) => this.mergeTwo(first, second);
    const all: MergedChunk<EventRun>[] = [];
    for (let [run] = runs, at = 0; run !== undefined; run = runs[at]) {
      const growing = new GrowingRun(run, this.#open(run), mergeTwo, this.#maxEventBytes);
      let end = at + 1;
      for (let next = runs[end]; next !== undefined && growing.add(next); next = runs[end]) end += 1;
      const count = end - at;
      const merged = count === 1 ? run : growing.run();
      at = end;
      if (count === 1 || fits(merged)) {
        all.push({ chunk: merged, count });
        continue;
      }
      const pairs = mergePairs(runs.slice(end - count, end), mergeTwo, fits);
      // The last of the pairs may still grow with the runs after it.
      if (pairs.length > 1) at -= pairs.pop()?.count ?? 0;
      for (const pair of pairs) all.push(pair);
    }
    return all;
  }

  #open(run: EventRun): CoalescedRun {
    if (run instanceof CoalescedRun) return run;
    const known = this.#opened.get(run);
    if (known !== undefined) return known;
    const opened = openRun(run, this.#anatomist, this.#maxEventBytes);
    this.#opened.set(run, opened);
    return opened;
  }
}

/** A run that others are merged into one after the other, without an object for each step. */
class GrowingRun {
  readonly #mergeTwo: MergeTwo;
  readonly #maxEventBytes: number;
  /** The first run as it came, until another was added. */
  #first: EventRun | undefined;
  #run: CoalescedRun;
  /** The last event of the run, with all text added since. */
  #growth: DeltaGrowth | undefined;

  constructor(first: EventRun, run: CoalescedRun, mergeTwo: MergeTwo, maxEventBytes: number) {
    this.#mergeTwo = mergeTwo;
    this.#maxEventBytes = maxEventBytes;
    this.#first = first;
    this.#run = run;
    this.#growth = growthOf(run, maxEventBytes);
  }

  /** Merges a run into this one. Returns whether that was possible. */
  add(next: EventRun): boolean {
    // A run larger than `maxEventBytes` is not merged further.
    if (this.#run.byteLength > this.#maxEventBytes) return false;
    if (next.events === 1 && !(next instanceof CoalescedRun)) {
      const { bytes } = next;
      if (this.#growth?.add(bytes, 0, bytes.length) === bytes.length) {
        this.#first = undefined;
        return true;
      }
    }
    const merged = this.#mergeTwo(this.#first ?? this.run(), next);
    if (merged === undefined) return false;
    this.#first = undefined;
    this.#run = merged;
    this.#growth = growthOf(merged, this.#maxEventBytes);
    return true;
  }

  /** Returns the run with everything that was added. */
  run(): CoalescedRun {
    if (this.#growth === undefined || this.#growth.added === 0) return this.#run;
    return grownRun(this.#run, this.#growth, this.#run.events);
  }
}

/** Opens the last event of a run for growth; `undefined` if that event has to be taken apart first. */
function growthOf({ parts }: CoalescedRun, maxEventBytes: number): DeltaGrowth | undefined {
  const last = parts.at(-1);
  return last === undefined || last instanceof Uint8Array ? undefined : DeltaGrowth.open(last, maxEventBytes);
}

/** Takes events apart, and remembers the shape of the latest one: most events of a stream have one of a few shapes. */
class Anatomist {
  readonly #dissect: Dissect;
  readonly #maxEventBytes: number;
  #shape: DeltaEvent | undefined;

  constructor(dissect: Dissect, maxEventBytes: number) {
    this.#dissect = dissect;
    this.#maxEventBytes = maxEventBytes;
  }

  /** Takes apart the event that starts at `start`. Without a `delta`, the event cannot be merged. */
  eventAt(
    bytes: Uint8Array,
    start: number,
  ): { readonly delta: DeltaEvent | undefined; readonly end: number } {
    const alike = this.#shape && DeltaGrowth.alike(this.#shape, bytes, start, this.#maxEventBytes);
    if (alike !== undefined) return { delta: alike.event, end: alike.end };
    const { data, end } = eventAt(bytes, start);
    // An event this large cannot grow, so it is not taken apart: a picture, for example.
    if (end - start >= this.#maxEventBytes) return { delta: undefined, end };
    const holes = data && this.#dissect(bytes.subarray(start, end), data.start - start, data.end - start);
    // A copy, because a merged event may live long, and should not keep alive the whole chunk that it came in.
    const delta = holes && openDelta(copyOf(bytes, start, end), holes);
    if (delta !== undefined) this.#shape = delta;
    return { delta, end };
  }
}

/**
 * Takes the events of a run apart. Of neighbours with the same shape only the first one is taken apart. Events that
 * cannot be merged stay bytes.
 */
function openRun({ bytes, events }: EventRun, anatomist: Anatomist, maxEventBytes: number): CoalescedRun {
  const parts: Part[] = [];
  let added = 0;
  let rest = 0;
  for (let at = 0; at < bytes.length;) {
    const { delta, end } = anatomist.eventAt(bytes, at);
    if (delta === undefined) {
      at = end;
      continue;
    }
    if (rest < at) parts.push(copyOf(bytes, rest, at));
    const growth = DeltaGrowth.open(delta, maxEventBytes);
    at = growth === undefined ? end : growAlong(growth, bytes, end);
    rest = at;
    added += growth?.added ?? 0;
    parts.push(growth?.event() ?? delta);
  }
  // A run without mergeable parts keeps its own bytes: no part of it outlives the run.
  if (rest < bytes.length) parts.push(rest === 0 ? bytes : copyOf(bytes, rest, bytes.length));
  return joinRuns([], parts, events - added, added, maxEventBytes);
}

/** Merges a run into another one's last event, if all of its events have that event's shape. */
function grow(run: CoalescedRun, second: EventRun, maxEventBytes: number): CoalescedRun | undefined {
  const growth = second.events === 0 ? undefined : growthOf(run, maxEventBytes);
  if (growth === undefined || growAlong(growth, second.bytes, 0) < second.bytes.length) return undefined;
  return grownRun(run, growth, run.events + second.events - growth.added);
}

/** A run whose last event is replaced by the grown one. */
function grownRun({ mergedEvents, parts }: CoalescedRun, growth: DeltaGrowth, events: number): CoalescedRun {
  const grown = growth.event();
  return new CoalescedRun([...parts.slice(0, -1), grown], events, mergedEvents + growth.added);
}

/** Joins the parts of two runs, and merges the parts where the runs meet. */
function joinRuns(
  before: readonly Part[],
  added: readonly Part[],
  events: number,
  mergedEvents: number,
  maxEventBytes: number,
): CoalescedRun {
  const parts = [...before];
  for (const part of added) addPart(parts, part, maxEventBytes);
  const joined = before.length + added.length - parts.length;
  return new CoalescedRun(parts, events - joined, mergedEvents + joined);
}

/** Adds events as long as they fit the shape. Returns where the next event starts. */
function growAlong(growth: DeltaGrowth, bytes: Uint8Array, start: number): number {
  let at = start;
  while (at < bytes.length) {
    const end = growth.add(bytes, at);
    if (end === -1) break;
    at = end;
  }
  return at;
}

/**
 * Whether two parts belong together although they stay two. The last part of a run is held back, and is merged when
 * another part follows.
 */
function areHeldBack(last: Part | undefined, next: Part | undefined, maxBytes: number): boolean {
  if (last === undefined || next === undefined || last instanceof Uint8Array || next instanceof Uint8Array) {
    return false;
  }
  return last.keepsLast && next.keepsLast && mergeDeltas(last, next, maxBytes) !== undefined;
}

/** Adds a part, or merges it into the last one. */
function addPart(parts: Part[], part: Part, maxBytes: number): void {
  const last = parts.at(-1);
  if (part instanceof Uint8Array || last === undefined || last instanceof Uint8Array) {
    parts.push(part);
    return;
  }
  if (part.keepsLast) {
    // The last part so far is not the last of its run any more, so it can be merged into the part before it.
    const beforeLast = parts.at(-2);
    if (last.keepsLast && beforeLast !== undefined && !(beforeLast instanceof Uint8Array)) {
      const merged = mergeDeltas(beforeLast, last, maxBytes);
      if (merged !== undefined) parts.splice(-2, 2, merged);
    }
    parts.push(part);
    return;
  }
  const merged = last.keepsLast ? undefined : mergeDeltas(last, part, maxBytes);
  if (merged === undefined) parts.push(part);
  else parts[parts.length - 1] = merged;
}
