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
 * Grows an event by events of the same shape that follow it, byte for byte but for the holes: what
 * {@link mergeDeltas} does with events that were taken apart, without taking them apart. What differs in any other
 * way is left to that.
 */
export class DeltaGrowth {
  readonly #event: DeltaEvent;
  readonly #maxBytes: number;
  /** Of the newest event: its bytes, where it lies in them, and its holes one after the other. */
  #bytes: Uint8Array;
  #start = 0;
  #end: number;
  #holes: number[] = [];
  /** The same of the one that is looked at. */
  #nextHoles: number[] = [];
  #growing: number;
  /** The text of those before the newest one. */
  #grown: Grown | undefined;
  #grownBytes: number;
  /** How many events were added. */
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

  /** `undefined` for an event whose followers have to be taken apart. */
  static open(event: DeltaEvent, maxBytes: number): DeltaGrowth | undefined {
    const isPlain = event.holes.every(({ keepsLast, kind }) => kind !== 'items' && !keepsLast);
    return isPlain ? new DeltaGrowth(event, maxBytes) : undefined;
  }

  /**
   * The event that starts there, if it has the same shape as another one and less bytes than that: what taking it apart finds, for a
   * fraction of the time.
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
    // Two texts that grow in turn: never merged.
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

  /** The bytes of the event as it would be written. */
  get byteLength(): number {
    return this.#end - this.#start + this.#grownBytes;
  }

  /**
   * Adds the event that starts there, and ends at `wantedEnd` if that is given. Returns where it ends; -1: it cannot be added, and
   * nothing has changed.
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

  /** All of them as one event. */
  event(): DeltaEvent {
    if (this.added === 0) return this.#event;
    const start = this.#start;
    const grown = new Array<Grown | undefined>(this.#event.holes.length).fill(undefined);
    if (this.#growing !== -1) grown[this.#growing] = this.#grown;
    return {
      // A copy of its own, because an event may stand for many and should not keep alive what came with it.
      bytes: copyOf(this.#bytes, start, this.#end),
      holes: holesAt(this.#event.holes, this.#holes, start),
      grown,
      growing: this.#growing,
      keepsLast: false,
      byteLength: this.#end - start + this.#grownBytes,
    };
  }

  /** Compares the event that starts there with the first one, and notes its holes. Returns where it ends, or -1. */
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
    // A CRLF that was cut ended the first one, and another one ends this: it would be left without its last byte.
    return bytes[at + length] === LF && shape.at(-1) === CR ? -1 : at + length;
  }

  /** The hole with text in it; -1: none has; -2: two have. */
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

/** Holes of the same kinds at other places, which are counted from `start`. */
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

/** Where the string ends that goes on there: at its quote; -1 if it does not end in its line. */
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

/** Where the value ends that begins there, if that is a number or a string, or the same as in the shape; else -1. */
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
