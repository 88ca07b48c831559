/**
 * Visits the keys of a JSON text in `bytes[start, end)` without parsing the values. Calls `visit` with each key, its
 * depth (1: a key of the text itself) and where its value begins, until `visit` returns `true`. Stops at text that is
 * no JSON.
 */
export function forEachKey(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (keyStart: number, keyEnd: number, depth: number, value: number) => boolean,
): void {
  let depth = 0;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at];
    if (byte === OPEN_OBJECT || byte === OPEN_LIST) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) depth -= 1;
    if (byte !== QUOTE) continue;
    const keyStart = at + 1;
    const keyEnd = endOfString(bytes, keyStart, end);
    at = keyEnd;
    let value = at + 1;
    while (isSpace(bytes[value])) value += 1;
    // Only a key is followed by a colon.
    if (bytes[value] !== COLON || value >= end) continue;
    value += 1;
    while (isSpace(bytes[value])) value += 1;
    if (visit(keyStart, keyEnd, depth, value)) return;
    at = value - 1;
  }
}

/** Where a string ends: at its closing quote, or at `end`. `from` is the index of its first character. */
export function endOfString(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
  return Math.min(at, end);
}

/** Whether `bytes[start, end)` equals a text. */
export function isText(bytes: Uint8Array, start: number, end: number, text: Uint8Array): boolean {
  if (end - start !== text.length) return false;
  for (let index = 0; index < text.length; index += 1) if (bytes[start + index] !== text[index]) return false;
  return true;
}

/** Whether a byte is white space in JSON. */
export function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

const QUOTE = 0x22;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
