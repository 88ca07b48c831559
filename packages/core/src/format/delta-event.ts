import type { Hole } from './delta-rule.ts';

/** An event that can be merged with its neighbours. */
export interface DeltaEvent {
  /** The bytes of the event as it came, or of the last event that it stands for. */
  readonly bytes: Uint8Array;
  readonly holes: readonly Hole[];
  /** For each hole, the bytes that earlier events had in it. */
  readonly grown: readonly (Grown | undefined)[];
  /** The index of the one hole with text in it; -1 if no hole has text, so that any hole may grow. */
  readonly growing: number;
  /** Whether the last event of a run has to stay an event of its own. */
  readonly keepsLast: boolean;
  /** The number of bytes of the event when it is written. */
  readonly byteLength: number;
}

/** The bytes `store.bytes[0, length)`. Bytes after `length` belong to later events. */
export interface Grown {
  readonly store: Store;
  readonly length: number;
}

/** Append-only bytes. Events that grew from one another share them. used ≤ bytes.length always. */
interface Store {
  bytes: Uint8Array;
  used: number;
}

const COMMA = 0x2c;
const BACKSLASH = 0x5c;

/** Copies bytes into memory of their own. `slice` would not do: for a Node Buffer it returns a view. */
export function copyOf(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const copy = new Uint8Array(end - start);
  copy.set(bytes.subarray(start, end));
  return copy;
}

/** An event that nothing was merged into yet; `undefined` if nothing can be. */
export function openDelta(bytes: Uint8Array, holes: readonly Hole[]): DeltaEvent | undefined {
  let growing = -1;
  let hasText = false;
  for (const [index, { end, kind, start }] of holes.entries()) {
    if (kind !== 'text') continue;
    hasText = true;
    if (start === end) continue;
    // Two texts in one event would lose their order when both grow.
    if (growing !== -1) return undefined;
    growing = index;
  }
  if (!hasText) return undefined;
  const keepsLast = holes.some((hole) => hole.keepsLast);
  return { bytes, holes, grown: [], growing, keepsLast, byteLength: bytes.length };
}

/**
 * Merges two neighbours into one event that says what both said. `undefined` if they differ outside their holes, or if
 * the result would have more than `maxBytes`.
 */
export function mergeDeltas(first: DeltaEvent, second: DeltaEvent, maxBytes: number): DeltaEvent | undefined {
  if (first.growing !== -1 && second.growing !== -1 && first.growing !== second.growing) return undefined;
  if (!haveSameShape(first, second) || isSplitCharacter(first, second)) return undefined;
  const byteLength = mergedLength(first, second);
  // Checked before anything is copied, because this is a frequent refusal.
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

/** Whether two events are equal outside their holes. */
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
 * Whether a character begins in the first text and ends in the second: half of a surrogate pair, written as an escape,
 * or some bytes of a UTF-8 sequence. A client shows two wrong characters for the separate events, but one right
 * character for a merged one.
 */
function isSplitCharacter(first: DeltaEvent, second: DeltaEvent): boolean {
  const hole = first.holes[first.growing];
  const next = second.holes[second.growing];
  if (hole === undefined || next === undefined) return false;
  // If the second event is a merged one, its text begins with its grown part.
  const later = second.grown[second.growing];
  if (later === undefined && next.start === next.end) return false;
  const begin = later === undefined ? second.bytes[next.start] : later.store.bytes[0];
  const before = first.grown[first.growing];
  return isContinuation(begin) || endsInHalf(first.bytes, hole.start, hole.end, before);
}

export function isContinuation(byte: number | undefined): boolean {
  return ((byte ?? 0) & 0xc0) === 0x80;
}

/**
 * Whether the text in `bytes[start, end)` ends in an escape from \uD8.. to \uDB.., the first half of a pair. If that
 * text is empty, the text before it counts.
 */
export function endsInHalf(
  bytes: Uint8Array,
  start: number,
  end: number,
  before: Grown | undefined,
): boolean {
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

/** The number of bytes that the merged event would have. */
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
 * Adds `bytes[start, end)` to a hole's text: in place, unless another event has added to the same store since. The
 * store doubles, so that growing costs linear time, but only up to `maxBytes`, because a larger event does not grow any
 * more.
 */
export function append(
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
  // Most texts are a token: for so few bytes a loop is faster than a view and a call.
  if (end - start > 64) store.bytes.set(bytes.subarray(start, end), used + joint);
  else
    for (let from = start, to = used + joint; from < end; from += 1, to += 1)
      store.bytes[to] = bytes[from] ?? 0;
  store.used = length;
  return { store, length };
}
