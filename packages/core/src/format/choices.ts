import { endOfString, isSpace, isText } from './json-keys.ts';

/** A format's key for its list of choices, and the key for the reason why a choice ended. */
export interface ChoiceKeys {
  readonly list: Uint8Array;
  readonly reason: Uint8Array;
}

/** More than any provider has. Choices beyond this number are not tracked, and `areOver` stays false. */
const maxChoices = 1024;

/**
 * Tracks which choices of a reply have come, and which of them are over. A choice that is over stays over, whatever
 * follows.
 */
export class Choices {
  /** The index of the list in the last payload. In the next payload the list is mostly at the same index. */
  listAt = 0;
  /**
   * From the last payload that said nothing of an end: its list up to its last text, and the list from that text's end.
   */
  #head = none;
  #tail = none;
  readonly #isOver = new Map<number, boolean>();
  #open = 0;
  #isLost = false;

  /** Whether choices have come, and each of them has said why it ended. */
  get areOver(): boolean {
    return this.#isOver.size > 0 && this.#open === 0 && !this.#isLost;
  }

  /** Notes that a choice has come, and whether it is over. */
  add(index: number, isOver: boolean): void {
    const before = this.#isOver.get(index);
    if (before === isOver || before === true) return;
    if (before === undefined && this.#isOver.size === maxChoices) {
      this.lose();
      return;
    }
    if (!isOver) this.#open += 1;
    else if (before === false) this.#open -= 1;
    this.#isOver.set(index, isOver);
  }

  /**
   * Compares a payload's list with the last one. Returns where the list ends if the two differ only in one text, so
   * that this list, too, says nothing of an end; otherwise -1. Bytes before the list are not compared: the list has to
   * be at the same index as before.
   */
  endOfAlike(bytes: Uint8Array, start: number, end: number): number {
    const head = this.#head;
    const tail = this.#tail;
    let at = start + this.listAt;
    if (tail === none || at + head.length + tail.length >= end) return -1;
    // Backwards, because the end of the head says which choice it is.
    for (let index = head.length - 1; index >= 0; index -= 1)
      if (bytes[at + index] !== head[index]) return -1;
    at += head.length;
    while (at < end && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
    if (at + tail.length >= end) return -1;
    for (let index = tail.length - 1; index >= 0; index -= 1)
      if (bytes[at + index] !== tail[index]) return -1;
    return at + tail.length;
  }

  /** Notes the list of a payload that has one choice with a text, and says nothing of an end. */
  noteAlike(bytes: Uint8Array, listAt: number, textAt: number, listEnd: number): void {
    this.#head = bytes.slice(listAt, textAt);
    this.#tail = bytes.slice(endOfString(bytes, textAt, listEnd), listEnd);
  }

  /** Notes an event that may have been about any choice. After that `areOver` stays false. */
  lose(): void {
    this.#isLost = true;
  }
}

/**
 * Looks for the choices in a payload without parsing the rest. A choice without an index gets its position in the list.
 * With `visit`, which is called with all other keys (as by `forEachKey`), all bytes are looked at. Without `visit`, the
 * search starts at the list if that is at the same index as before. The list's name there cannot be part of a text,
 * because quotes in a text are escaped.
 */
export function findChoices(
  bytes: Uint8Array,
  start: number,
  end: number,
  { list, reason }: ChoiceKeys,
  choices: Choices,
  visit?: (keyStart: number, keyEnd: number, depth: number, value: number) => void,
): void {
  const listAt = start + choices.listAt;
  const isKnown =
    visit === undefined &&
    bytes[listAt] === QUOTE &&
    bytes[listAt + list.length + 1] === QUOTE &&
    bytes[listAt + list.length + 2] === COLON &&
    listAt + list.length + 2 < end &&
    isText(bytes, listAt + 1, listAt + list.length + 1, list);
  let depth = isKnown ? 1 : 0;
  let isInList = false;
  let place = 0;
  let index = -1;
  let isOver = false;
  let hasReason = false;
  let isOfReason = false;
  let textAt = -1;
  let listEnd = -1;
  // A loop of its own instead of `forEachKey`: this runs for every event, and a call for each key would be most of the
  // cost.
  for (let at = isKnown ? listAt : start; at < end; at += 1) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      const keyStart = at + 1;
      at = endOfString(bytes, keyStart, end);
      const keyEnd = at;
      let value = at + 1;
      while (isSpace(bytes[value])) value += 1;
      // Only a key is followed by a colon.
      if (bytes[value] !== COLON || value >= end) {
        if (!isOfReason) textAt = keyStart;
        continue;
      }
      value += 1;
      while (isSpace(bytes[value])) value += 1;
      isOfReason = isText(bytes, keyStart, keyEnd, reason);
      if (depth === 1) {
        if (isInList && visit === undefined) break;
        isInList = isText(bytes, keyStart, keyEnd, list);
        if (isInList) choices.listAt = keyStart - 1 - start;
        textAt = -1;
      }
      if (!isInList) visit?.(keyStart, keyEnd, depth, value);
      else if (depth === 3 && isText(bytes, keyStart, keyEnd, INDEX)) index = digitsAt(bytes, value);
      else if (depth === 3 && isOfReason) isOver = isReason(bytes, value, end);
      at = value - 1;
    } else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
      depth += 1;
    } else if (byte === CLOSE_LIST) {
      depth -= 1;
      if (depth === 1 && isInList) listEnd = at + 1;
    } else if (byte === CLOSE_OBJECT) {
      if (isInList && depth === 3) {
        choices.add(index === -1 ? place : index, isOver);
        place += 1;
        hasReason ||= isOver;
        index = -1;
        isOver = false;
      }
      depth -= 1;
    }
  }
  const isPlain = place === 1 && !hasReason && textAt !== -1 && listEnd > textAt;
  if (isPlain) choices.noteAlike(bytes, start + choices.listAt, textAt, listEnd);
}

/**
 * Whether a value says why a choice ended: a text, or the number of a reason. The values that mean "not yet" in some
 * dialects do not count. Neither does "error", because a failed choice is not whole.
 */
export function isReason(bytes: Uint8Array, value: number, end: number): boolean {
  const first = bytes[value] ?? 0;
  if (first !== QUOTE) return first > ZERO && first <= NINE;
  const last = endOfString(bytes, value + 1, end);
  for (const text of noReasons) if (isText(bytes, value + 1, last, text)) return false;
  return last > value + 1;
}

/** The number that starts at `value`; -1 if there is none. */
function digitsAt(bytes: Uint8Array, value: number): number {
  let number = -1;
  for (let at = value; ; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte < ZERO || byte > NINE) return number;
    number = Math.max(0, number) * 10 + byte - ZERO;
  }
}

const none = new Uint8Array(0);
const encoder = new TextEncoder();
const INDEX = encoder.encode('index');
const noReasons = ['null', 'error', 'FINISH_REASON_UNSPECIFIED', 'BLOCK_REASON_UNSPECIFIED'].map((text) =>
  encoder.encode(text),
);
const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const ZERO = 0x30;
const NINE = 0x39;
