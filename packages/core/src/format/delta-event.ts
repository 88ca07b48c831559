import type { Hole } from './delta-rule.ts';

/** An event that can be merged with its neighbours. */
export interface DeltaEvent {
  /** The whole event as it came, or the last of those that it stands for. */
  readonly bytes: Uint8Array;
  readonly holes: readonly Hole[];
  /** For each hole, what earlier events had in it. */
  readonly grown: readonly (Grown | undefined)[];
  /** The hole with text in it, which is what grows; -1 if there is none, then any can follow. */
  readonly growing: number;
  /** Whether the last of a run of such events has to stay an event of its own. */
  readonly keepsLast: boolean;
  /** The bytes of the event as it will be written. */
  readonly byteLength: number;
}

/** `store.bytes[0, length)`: what came later into the same store belongs to later events. */
interface Grown {
  readonly store: Store;
  readonly length: number;
}

/** Bytes that are only ever added to, so that events that grew out of each other share them. */
interface Store {
  bytes: Uint8Array;
  used: number;
}

const LF = 0x0a;
const CR = 0x0d;
const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const BACKSLASH = 0x5c;
const LETTER_E = 0x65;

/** A copy with memory of its own: what `slice` makes of a Node Buffer is none. */
export function copyOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const copy = new Uint8Array(end - start);
  copy.set(bytes.subarray(start, end));
  return copy;
}

/** An event that nothing was merged into; `undefined` if nothing can be. */
export function openDelta(bytes: Uint8Array, holes: readonly Hole[]): DeltaEvent | undefined {
  let growing = -1;
  let hasText = false;
  for (const [index, { end, kind, start }] of holes.entries()) {
    if (kind !== 'text') continue;
    hasText = true;
    if (start === end) continue;
    // Two texts that grow in turn would come out one behind the other.
    if (growing !== -1) return undefined;
    growing = index;
  }
  if (!hasText) return undefined;
  const keepsLast = holes.some((hole) => hole.keepsLast);
  return { bytes, holes, grown: [], growing, keepsLast, byteLength: bytes.length };
}

/**
 * Two neighbours as one event, which says what both said; `undefined` if they differ in more than what may
 * grow or be replaced, or if the event would have more bytes than that.
 */
export function mergeDeltas(first: DeltaEvent, second: DeltaEvent, maxBytes: number): DeltaEvent | undefined {
  if (first.growing !== -1 && second.growing !== -1 && first.growing !== second.growing) return undefined;
  if (!haveSameShape(first, second) || isSplitCharacter(first, second)) return undefined;
  const byteLength = mergedLength(first, second);
  // Looked at before anything is copied: what is too large is often asked about.
  if (byteLength > maxBytes) return undefined;
  const grown = first.holes.map((hole, index) => {
    if (hole.kind === 'last') return undefined;
    const own = append(first.grown[index], hole.kind, first.bytes, hole.start, hole.end, maxBytes);
    const later = second.grown[index];
    return later === undefined ? own : append(own, hole.kind, later.store.bytes, 0, later.length, maxBytes);
  });
  return {
    bytes: second.bytes,
    holes: second.holes,
    grown,
    growing: Math.max(first.growing, second.growing),
    keepsLast: second.keepsLast,
    byteLength,
  };
}

/** Writes the event to `target` at `offset`. Returns where it ends. */
export function writeDelta({ bytes, grown, holes }: DeltaEvent, target: Uint8Array, offset: number): number {
  let at = offset;
  let copied = 0;
  const copy = (from: Uint8Array): void => {
    target.set(from, at);
    at += from.length;
  };
  for (const [index, { end, kind, start }] of holes.entries()) {
    const before = grown[index];
    if (before === undefined) continue;
    copy(bytes.subarray(copied, start));
    copy(before.store.bytes.subarray(0, before.length));
    if (kind === 'items' && end > start) {
      target[at] = COMMA;
      at += 1;
    }
    copied = start;
  }
  copy(bytes.subarray(copied));
  return at;
}

/** Whether the events are equal but for their holes. */
function haveSameShape(first: DeltaEvent, second: DeltaEvent): boolean {
  if (first.holes.length !== second.holes.length) return false;
  let a = 0;
  let b = 0;
  for (const [index, hole] of first.holes.entries()) {
    const other = second.holes[index];
    if (other === undefined || other.kind !== hole.kind || other.isNull !== hole.isNull) return false;
    if (!areEqual(first.bytes, a, hole.start, second.bytes, b, other.start)) return false;
    a = hole.end;
    b = other.end;
  }
  return areEqual(first.bytes, a, first.bytes.length, second.bytes, b, second.bytes.length);
}

function areEqual(
  first: Uint8Array,
  firstStart: number,
  firstEnd: number,
  second: Uint8Array,
  secondStart: number,
  secondEnd: number,
): boolean {
  if (firstEnd - firstStart !== secondEnd - secondStart) return false;
  for (let index = firstEnd - firstStart - 1; index >= 0; index -= 1) {
    if (first[firstStart + index] !== second[secondStart + index]) return false;
  }
  return true;
}

/**
 * Whether a character begins in one text and ends in the other: half of a surrogate pair, written as an
 * escape, or some bytes of a UTF-8 sequence. Apart these are two wrong characters, together they would be a
 * right one.
 */
function isSplitCharacter(first: DeltaEvent, second: DeltaEvent): boolean {
  const hole = first.holes[first.growing];
  const next = second.holes[second.growing];
  if (hole === undefined || next === undefined) return false;
  // What later events were merged into begins where the first of them did.
  const later = second.grown[second.growing];
  if (later === undefined && next.start === next.end) return false;
  const begin = later === undefined ? second.bytes[next.start] : later.store.bytes[0];
  const before = first.grown[first.growing];
  return isContinuation(begin) || endsInHalf(first.bytes, hole.start, hole.end, before);
}

function isContinuation(byte: number | undefined): boolean {
  return ((byte ?? 0) & 0xc0) === 0x80;
}

/** Whether the text in `bytes[start, end)`, or if that is empty the one before it, ends in \uD8.. to \uDB.. */
function endsInHalf(bytes: Uint8Array, start: number, end: number, before: Grown | undefined): boolean {
  if (start === end && before !== undefined) {
    return endsInHalf(before.store.bytes, 0, before.length, undefined);
  }
  const escape = end - 6;
  return (
    escape >= start &&
    bytes[escape] === BACKSLASH &&
    bytes[escape + 1] === 0x75 &&
    ((bytes[escape + 2] ?? 0) | 0x20) === 0x64 &&
    /[89ab]/i.test(String.fromCharCode(bytes[escape + 3] ?? 0))
  );
}

/** The bytes of the event that two would become. */
function mergedLength(first: DeltaEvent, second: DeltaEvent): number {
  let length = second.bytes.length;
  for (const [index, { end, kind, start }] of first.holes.entries()) {
    if (kind === 'last') continue;
    const before = first.grown[index]?.length ?? 0;
    const later = second.grown[index]?.length ?? 0;
    const next = second.holes[index];
    length += before + end - start + later;
    if (kind !== 'items') continue;
    const lists = [before, end - start, later, (next?.end ?? 0) - (next?.start ?? 0)];
    length += Math.max(0, lists.filter((bytes) => bytes > 0).length - 1);
  }
  return length;
}

/**
 * Adds `bytes[start, end)`, in place if nobody else did meanwhile. Doubles, so that growing costs linear time, but takes no room beyond
 * `maxBytes`: what is as large as that does not grow any more.
 */
function append(
  before: Grown | undefined,
  kind: Hole['kind'],
  bytes: Uint8Array,
  start: number,
  end: number,
  maxBytes: number,
): Grown | undefined {
  if (start === end) return before;
  const used = before?.length ?? 0;
  const joint = kind === 'items' && used > 0 ? 1 : 0;
  const length = used + joint + end - start;
  let store = before?.store;
  if (store === undefined || store.used !== used || store.bytes.length < length) {
    const room = new Uint8Array(Math.max(64, length, Math.min(length * 2, maxBytes)));
    if (store !== undefined) room.set(store.bytes.subarray(0, used));
    store = { bytes: room, used };
  }
  if (joint === 1) store.bytes[used] = COMMA;
  // Most texts are a token: calling for a copy of a view takes longer than copying.
  if (end - start > 64) store.bytes.set(bytes.subarray(start, end), used + joint);
  else
    for (let from = start, to = used + joint; from < end; from += 1, to += 1)
      store.bytes[to] = bytes[from] ?? 0;
  store.used = length;
  return { store, length };
}

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
