import { joinDataLines, maxJoinedBytes } from './data-lines.ts';

/** One event in an array of bytes: `bytes[start, end)`, its blank line included. */
export interface EventSpan {
  /** The index of the event's first byte. */
  readonly start: number;
  /** The index after the event's last byte, which belongs to the blank line. */
  readonly end: number;
  /**
   * The range of the event's data, if the event has one data line and at most a name beside it. Undefined for all other
   * events (with comments, ids or several data lines).
   */
  readonly data: { readonly start: number; readonly end: number } | undefined;
}

/** The events of an array of whole events, in order and without a byte left over. */
export function eventsIn(bytes: Uint8Array): EventSpan[] {
  const spans: EventSpan[] = [];
  for (let at = 0; at < bytes.length;) {
    const span = eventAt(bytes, at);
    spans.push(span);
    at = span.end;
  }
  return spans;
}

/**
 * The data of an event, of one data line or several. Empty without data, or with several lines and more than 64 KiB.
 * The next call may overwrite the bytes.
 */
export function dataOf(bytes: Uint8Array, { data, end, start }: EventSpan): Uint8Array {
  if (data !== undefined) return bytes.subarray(data.start, data.end);
  return end - start > maxJoinedBytes ? bytes.subarray(0, 0) : joinDataLines(bytes, start, end);
}

/** The event that starts at `start`. Without a blank line, the event reaches to the end of the bytes. */
export function eventAt(bytes: Uint8Array, start: number): EventSpan {
  let data: { start: number; end: number } | undefined;
  let isPlain = true;
  for (let line = start; line < bytes.length;) {
    const lineEnd = endOfLine(bytes, line);
    const next = bytes[lineEnd] === CR && bytes[lineEnd + 1] === LF ? lineEnd + 2 : lineEnd + 1;
    if (lineEnd === line) return { start, end: next, data: isPlain ? data : undefined };
    if (isField(bytes, line, lineEnd, DATA)) {
      if (data !== undefined) isPlain = false;
      const value = line + DATA.length + 1;
      data = { start: bytes[value] === SPACE ? value + 1 : value, end: lineEnd };
    } else if (!isField(bytes, line, lineEnd, EVENT)) {
      isPlain = false;
    }
    line = next;
  }
  return { start, end: bytes.length, data: undefined };
}

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;
const DATA = new TextEncoder().encode('data');
const EVENT = new TextEncoder().encode('event');

function endOfLine(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && bytes[at] !== LF && bytes[at] !== CR) at += 1;
  return at;
}

function isField(bytes: Uint8Array, start: number, end: number, name: Uint8Array): boolean {
  if (end - start <= name.length || bytes[start + name.length] !== COLON) return false;
  for (let index = 0; index < name.length; index += 1) if (bytes[start + index] !== name[index]) return false;
  return true;
}
