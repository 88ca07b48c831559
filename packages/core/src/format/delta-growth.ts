import { append, copyOf, type DeltaEvent, endsInHalf, type Grown, isContinuation } from './delta-event.ts';
import type { Hole } from './delta-rule.ts';

const LF = 0x0a;
const CR = 0x0d;
const QUOTE = 0x22;
const PLUS = 0x2b;
const MINUS = 0x2d;
const DOT = 0x2e;
const BACKSLASH = 0x5c;
const LETTER_E = 0x65;

/**
 * Merges an event with later events that have the same bytes outside the holes. The result is that of {@link
 * mergeDeltas}, without taking the later events apart. An event that differs in any other way is refused, and has to be
 * taken apart.
 */
export class DeltaGrowth {
  readonly #event: DeltaEvent;
  readonly #maxBytes: number;
  /** The newest event: the array that it lies in, its range there, and the ranges of its holes. */
  #bytes: Uint8Array;
  #start = 0;
  #end: number;
  #holes: number[] = [];
  /** The ranges of the holes of the event that is being compared. */
  #nextHoles: number[] = [];
  #growing: number;
  /** The text of the events before the newest one. */
  #grown: Grown | undefined;
  #grownBytes: number;
  /** The number of events that were added. */
  added = 0;

  private constructor(event: DeltaEvent, maxBytes: number) {
    this.#event = event;
    this.#maxBytes = maxBytes;
    this.#bytes = event.bytes;
    this.#end = event.bytes.length;
    this.#growing = event.growing;
    this.#grown = event.grown[event.growing];
    this.#grownBytes = this.#grown?.length ?? 0;
    for (const { end, start } of event.holes) this.#holes.push(start, end);
  }

  /** Opens an event for growth; `undefined` if later events have to be taken apart to be merged. */
  static open(event: DeltaEvent, maxBytes: number): DeltaGrowth | undefined {
    const isPlain = event.holes.every(({ keepsLast, kind }) => kind !== 'items' && !keepsLast);
    return isPlain ? new DeltaGrowth(event, maxBytes) : undefined;
  }

  /**
   * Returns the event that starts at `start`, if it has the same shape as `shape` and fewer than `maxBytes` bytes. The
   * result is the same as from taking the event apart, in a fraction of the time.
   */
  static alike(
    shape: DeltaEvent,
    bytes: Uint8Array,
    start: number,
    maxBytes: number,
  ): { readonly event: DeltaEvent; readonly end: number } | undefined {
    const growth = DeltaGrowth.open(shape, Infinity);
    if (growth === undefined) return undefined;
    const end = growth.#match(bytes, start);
    if (end === -1 || end - start >= maxBytes) return undefined;
    const found = growth.#nextHoles;
    const growing = growth.#growingOf(found);
    // An event with two texts that grow is never merged.
    if (growing === -2) return undefined;
    const event: DeltaEvent = {
      bytes: copyOf(bytes, start, end),
      holes: holesAt(shape.holes, found, start),
      grown: [],
      growing,
      keepsLast: false,
      byteLength: end - start,
    };
    return { event, end };
  }

  /** The number of bytes of the event when it is written. */
  get byteLength(): number {
    return this.#end - this.#start + this.#grownBytes;
  }

  /**
   * Adds the event that starts at `start`, and that has to end at `wantedEnd` if that is given. Returns where the event
   * ends. -1: the event cannot be added, and nothing has changed.
   */
  add(bytes: Uint8Array, start: number, wantedEnd?: number): number {
    const end = this.#match(bytes, start);
    if (end === -1 || (wantedEnd !== undefined && end !== wantedEnd)) return -1;
    const growing = this.#growingOf(this.#nextHoles);
    if (growing === -2 || (growing !== -1 && this.#growing !== -1 && growing !== this.#growing)) return -1;
    let textBytes = 0;
    if (this.#growing !== -1) {
      const from = this.#holes[2 * this.#growing] ?? 0;
      const to = this.#holes[2 * this.#growing + 1] ?? 0;
      if (growing !== -1) {
        if (isContinuation(bytes[this.#nextHoles[2 * growing] ?? 0])) return -1;
        if (endsInHalf(this.#bytes, from, to, this.#grown)) return -1;
      }
      textBytes = to - from;
      if (end - start + this.#grownBytes + textBytes > this.#maxBytes) return -1;
      this.#grown = append(this.#grown, 'text', this.#bytes, from, to, this.#maxBytes);
    }
    if (end - start > this.#maxBytes) return -1;
    this.#grownBytes += textBytes;
    if (growing !== -1) this.#growing = growing;
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    const holes = this.#holes;
    this.#holes = this.#nextHoles;
    this.#nextHoles = holes;
    this.added += 1;
    return end;
  }

  /** Returns all added events as one event. */
  event(): DeltaEvent {
    if (this.added === 0) return this.#event;
    const start = this.#start;
    const grown = new Array<Grown | undefined>(this.#event.holes.length).fill(undefined);
    if (this.#growing !== -1) grown[this.#growing] = this.#grown;
    return {
      // A copy, because a merged event may live long, and should not keep alive the whole chunk that it came in.
      bytes: copyOf(this.#bytes, start, this.#end),
      holes: holesAt(this.#event.holes, this.#holes, start),
      grown,
      growing: this.#growing,
      keepsLast: false,
      byteLength: this.#end - start + this.#grownBytes,
    };
  }

  /**
   * Compares the event that starts at `start` with the first one, and notes the ranges of its holes. Returns where the
   * event ends, or -1.
   */
  #match(bytes: Uint8Array, start: number): number {
    const { bytes: shape, holes } = this.#event;
    const found = this.#nextHoles;
    let from = 0;
    let at = start;
    for (let index = 0; index < holes.length; index += 1) {
      const hole = holes[index];
      if (hole === undefined) return -1;
      const length = hole.start - from;
      if (!isSame(shape, from, bytes, at, length)) return -1;
      at += length;
      const holeEnd = hole.kind === 'text' ? endOfText(bytes, at) : endOfValue(bytes, at, shape, hole);
      if (holeEnd === -1) return -1;
      found[2 * index] = at;
      found[2 * index + 1] = holeEnd;
      at = holeEnd;
      from = hole.end;
    }
    const length = shape.length - from;
    if (!isSame(shape, from, bytes, at, length)) return -1;
    // The first event was cut within its CRLF, and this one is not: it would lose its last byte.
    return bytes[at + length] === LF && shape.at(-1) === CR ? -1 : at + length;
  }

  /** The index of the hole with text in it; -1: no hole has text; -2: two have. */
  #growingOf(found: readonly number[]): number {
    let growing = -1;
    for (let index = 0; index < this.#event.holes.length; index += 1) {
      if (this.#event.holes[index]?.kind !== 'text' || found[2 * index] === found[2 * index + 1]) continue;
      if (growing !== -1) return -2;
      growing = index;
    }
    return growing;
  }
}

/** Copies holes to other ranges. `places` are ranges in an array, and the event begins at `start`. */
function holesAt(holes: readonly Hole[], places: readonly number[], start: number): Hole[] {
  return holes.map(({ isNull, keepsLast, kind }, index) => ({
    kind,
    start: (places[2 * index] ?? 0) - start,
    end: (places[2 * index + 1] ?? 0) - start,
    keepsLast,
    isNull,
  }));
}

function isSame(first: Uint8Array, a: number, second: Uint8Array, b: number, length: number): boolean {
  if (b + length > second.length) return false;
  for (let index = 0; index < length; index += 1) {
    if (first[a + index] !== second[b + index]) return false;
  }
  return true;
}

/** Where the string that goes on at `start` ends: at its quote; -1 if it does not end in its line. */
function endOfText(bytes: Uint8Array, start: number): number {
  for (let at = start; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === QUOTE) return at;
    if (byte === LF || byte === CR) return -1;
    if (byte !== BACKSLASH) continue;
    at += 1;
    if (bytes[at] === LF || bytes[at] === CR) return -1;
  }
  return -1;
}

/**
 * Where the value that begins at `start` ends, if it is a number, a string or equal to the shape's value; otherwise -1.
 */
function endOfValue(bytes: Uint8Array, start: number, shape: Uint8Array, hole: Hole): number {
  const length = hole.end - hole.start;
  const first = bytes[start];
  if (!hole.isNull && first === QUOTE) {
    const end = endOfText(bytes, start + 1);
    return end === -1 ? -1 : end + 1;
  }
  if (hole.isNull || !isOfNumber(first)) {
    return isSame(shape, hole.start, bytes, start, length) ? start + length : -1;
  }
  let at = start;
  while (isOfNumber(bytes[at])) at += 1;
  return at;
}

function isOfNumber(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  if (byte >= 0x30 && byte <= 0x39) return true;
  return byte === MINUS || byte === PLUS || byte === DOT || (byte | 0x20) === LETTER_E;
}
