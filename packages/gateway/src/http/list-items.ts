/**
 * How many texts, lists and objects stand in a JSON list, in its pieces; 0 for any other value, and for a list of numbers alone. It
 * may be as long as a body: no value is built. The JSON must be whole.
 */
export function filledItems(parts: readonly Uint8Array[]): number {
  let items = 0;
  let depth = 0;
  let isInText = false;
  let isEscaped = false;
  for (const part of parts) {
    for (const byte of part) {
      if (isInText) {
        if (isEscaped) isEscaped = false;
        else if (byte === BACKSLASH) isEscaped = true;
        else if (byte === QUOTE) isInText = false;
        continue;
      }
      const opens = byte === OPEN_LIST || byte === OPEN_OBJECT;
      if (depth === 0 && byte !== OPEN_LIST) return 0;
      if (depth === 1 && (opens || byte === QUOTE)) items += 1;
      if (opens) depth += 1;
      else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth -= 1;
      else if (byte === QUOTE) isInText = true;
      if (depth === 0) return items;
    }
  }
  return items;
}

const QUOTE = 0x22;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
