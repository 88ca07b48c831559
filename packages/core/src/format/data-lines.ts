/** An event with several `data:` lines is not looked at if it has more bytes than this, line ends included. */
export const maxJoinedBytes = 65_536;

/** One buffer for all joined events, because only one is looked at at a time. */
let joined: Uint8Array | undefined;

/**
 * The data of an event: the values of its `data:` lines, joined by LF; empty without such lines. The event's lines are
 * `bytes[start, end)`, `maxJoinedBytes` at most. The next call overwrites the result.
 */
export function joinDataLines(bytes: Uint8Array, start: number, end: number): Uint8Array {
  joined ??= new Uint8Array(maxJoinedBytes);
  let length = 0;
  for (let line = start; line < end;) {
    const found = findLineEnd(bytes, line);
    const lineEnd = found === -1 ? end : Math.min(found, end);
    if (isDataField(bytes, line, lineEnd)) {
      // A loop, because a call to copy a few bytes would cost more.
      for (let at = valueStart(bytes, line, lineEnd); at < lineEnd; at += 1)
        joined[length++] = bytes[at] ?? 0;
      joined[length++] = LF;
    }
    // After the CR of a CRLF an empty line is found, which has no data.
    line = lineEnd + 1;
  }
  return joined.subarray(0, Math.max(0, length - 1));
}

/** Whether a payload has its end. A payload that starts as JSON but does not end as JSON was cut. */
export function isWholePayload(payload: Uint8Array | undefined): boolean {
  const text = new TextDecoder().decode(payload);
  if (text.startsWith('[DONE]')) return true;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Where a line ends: at its CR or LF; -1 if its end has not come. */
export function findLineEnd(bytes: Uint8Array, from: number): number {
  for (let index = from; index < bytes.length; index += 1) {
    const byte = bytes[index];
    if (byte === LF || byte === CR) return index;
  }
  return -1;
}

export function isDataField(bytes: Uint8Array, start: number, end: number): boolean {
  return (
    bytes[start] === DATA[0] &&
    bytes[start + 1] === DATA[1] &&
    bytes[start + 2] === DATA[2] &&
    bytes[start + 3] === DATA[3] &&
    (bytes[start + 4] === COLON || end === start + 4)
  );
}

/** Where the value of a `data:` line starts. The line may be "data: x", "data:x" or, with an empty value, "data". */
export function valueStart(bytes: Uint8Array, start: number, end: number): number {
  const value = Math.min(start + DATA.length + 1, end);
  return bytes[value] === SPACE && value < end ? value + 1 : value;
}

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;
const DATA = [0x64, 0x61, 0x74, 0x61] as const;
