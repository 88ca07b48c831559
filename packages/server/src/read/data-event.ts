import type { Pieces } from '../sink/join-small.ts';

/** So much of a text is made into a piece at once. With nothing but line ends, it is seven times as much. */
const blockBytes = 4096;
/** What is smaller may be of Node's pool: it is written in the same turn. */
const maxPooledBytes = 2048;

const LF = 0x0a;
const CR = 0x0d;
const BOM = [0xef, 0xbb, 0xbf] as const;
const none = Buffer.alloc(0);
const firstLine = Buffer.from('event: data\ndata: ');
const nextLine = Buffer.from('\ndata: ');

/**
 * The bytes as one `data` event, and what is to be said behind it. Whoever reads it joins the lines with LF, whatever ended them: a CR
 * cannot be in an event's data. It is made as it is asked for, because of short lines it is many times as large, for each reader.
 */
export function* dataEvent(bytes: Uint8Array, behind: () => string): Pieces {
  let before = firstLine;
  let at = BOM.every((byte, index) => bytes[index] === byte) ? BOM.length : 0;
  while (bytes.length - at > blockBytes) {
    const next = at + blockBytes;
    // A line end is not cut.
    const end = bytes[next - 1] === CR && bytes[next] === LF ? next + 1 : next;
    yield lines(before, bytes.subarray(at, end), none);
    before = none;
    at = end;
  }
  return lines(before, bytes.subarray(at), Buffer.from(`\n\n${behind()}`));
}

/** A part of the event's lines, between two texts. Where nothing has to be changed, it is the block itself and no copy. */
function lines(before: Uint8Array, block: Uint8Array, after: Uint8Array): Uint8Array {
  let size = before.length + block.length + after.length;
  for (let at = 0; at < block.length; at += 1) {
    const byte = block[at];
    if (byte === CR || (byte === LF && block[at - 1] !== CR)) size += nextLine.length - 1;
    else if (byte === LF) size -= 1;
  }
  if (size === block.length && before === none && after === none) return block;
  const text = size > maxPooledBytes ? Buffer.allocUnsafeSlow(size) : Buffer.allocUnsafe(size);
  text.set(before);
  let end = before.length;
  for (let at = 0; at < block.length; at += 1) {
    const byte = block[at];
    if (byte === LF && block[at - 1] === CR) continue;
    if (byte === CR || byte === LF) {
      text.set(nextLine, end);
      end += nextLine.length;
    } else {
      text[end] = byte ?? 0;
      end += 1;
    }
  }
  text.set(after, end);
  return text;
}
