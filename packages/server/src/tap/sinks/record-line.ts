import type { FileHandle } from 'node:fs/promises';
import type { SinkRecord } from '@spillway/core';
import { invalid } from '@spillway/core/invalid';

const lineEnd = 0x0a;
/** The longest beginning of a line that can be an id. */
const maxHeadBytes = 256;
const idOfLine = /^\{(?:"v":\d{1,9},)?"stream":"([A-Za-z0-9_-]{1,128})","seq":(\d{1,16})[,}]/;

const newline = Uint8Array.of(lineEnd);

/**
 * Returns a record's line, its end included.
 *
 * @throws {SpillwayError} `invalid_option` for a value of more than one line.
 */
export function lineOf({ stream, seq, value }: SinkRecord): readonly [value: Uint8Array, end: Uint8Array] {
  if (value.includes(lineEnd)) {
    throw invalid(
      `Record ${seq} of stream ${stream}: expected a value on one line, got one with a line end. JSON.stringify makes none.`,
    );
  }
  return [value, newline];
}

/**
 * Returns a record's line for a file. Its value has to be JSON that begins with the record's id, as `TapRecord`s do:
 * whoever opens the file again finds out from it what is there.
 *
 * @throws {SpillwayError} `invalid_option` for another value.
 */
export function fileLineOf(record: SinkRecord): readonly [value: Uint8Array, end: Uint8Array] {
  const { stream, seq, value } = record;
  const id = readId(value.subarray(0, maxHeadBytes));
  if (id?.stream !== stream || id.seq !== seq) {
    throw invalid(
      `Record ${seq} of stream ${stream}: expected JSON that begins with "v", and the record's "stream" and "seq" in that order, got another value. Only such records go to a file.`,
    );
  }
  if (value.includes(0)) {
    throw invalid(
      `Record ${seq} of stream ${stream}: expected a value without NUL, got one. JSON.stringify makes none.`,
    );
  }
  return lineOf(record);
}

/** What was found in a file of lines. */
export interface LineScan {
  /** The highest number of each stream that is there. */
  readonly last: Map<string, number>;
  /** Where the whole lines end. What lies behind was never acknowledged. */
  readonly wholeBytes: number;
  /** Whether it is a file of records: it has one, or nothing but the beginning of one. */
  readonly isOwn: boolean;
}

/** How a record can begin. */
const beginnings = ['{"v":1,"stream":"', '{"stream":"'];

/**
 * Reads a file of lines once, a piece at a time. Whole lines end where the last line has no end, or where the first NUL
 * is: that is where a disk that lost its power has not written a page although it had written a later one.
 */
export async function scanLines(file: FileHandle): Promise<LineScan> {
  const last = new Map<string, number>();
  const piece = Buffer.allocUnsafe(1_048_576);
  const head = Buffer.allocUnsafe(maxHeadBytes);
  let headBytes = 0;
  let wholeBytes = 0;
  for (let position = 0; ;) {
    const { bytesRead } = await file.read(piece, 0, piece.length, position);
    if (bytesRead === 0) break;
    const nul = piece.subarray(0, bytesRead).indexOf(0);
    const bytes = piece.subarray(0, nul === -1 ? bytesRead : nul);
    for (let from = 0; from < bytes.length;) {
      const end = bytes.indexOf(lineEnd, from);
      const to = end === -1 ? bytes.length : end;
      headBytes += bytes.copy(head, headBytes, from, to);
      from = to + 1;
      if (end === -1) break;
      const id = readId(head.subarray(0, headBytes));
      // A line that somebody has changed is left as it is.
      if (id !== undefined) last.set(id.stream, Math.max(id.seq, last.get(id.stream) ?? -1));
      headBytes = 0;
      wholeBytes = position + from;
    }
    if (nul !== -1) break;
    position += bytesRead;
  }
  const torn = head.toString('latin1', 0, headBytes);
  const isTorn = beginnings.some((text) => text.startsWith(torn.slice(0, text.length)));
  return { last, wholeBytes, isOwn: last.size > 0 || (wholeBytes === 0 && isTorn) };
}

function readId(head: Uint8Array): { readonly stream: string; readonly seq: number } | undefined {
  const match = idOfLine.exec(Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1'));
  const [, stream, seq] = match ?? [];
  return stream === undefined ? undefined : { stream, seq: Number(seq) };
}
