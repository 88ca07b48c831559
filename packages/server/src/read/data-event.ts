import type { Pieces } from '../sink/join-small.ts';

/** The bytes of text that one piece is made of. A piece of nothing but line ends is seven times as large. */
const blockBytes = 4096;
/** Pieces up to this size may come from Node's pool: they are written in the same turn. */
const maxPooledBytes = 2048;

const LF = 0x0a;
const CR = 0x0d;
const BOM = [0xef, 0xbb, 0xbf] as const;
const none = Buffer.alloc(0);
const firstLine = Buffer.from('event: data\ndata: ');
const nextLine = Buffer.from('\ndata: ');

/**
 * Makes one `data` event of the bytes, followed by the text of `behind`. Readers join the lines with LF, whatever
 * ended them: an event's data cannot contain CR. Pieces are made on request, because short lines make the event many
 * times as large, for each reader.
 */
export function* dataEvent(bytes: Uint8Array, behind: () => string): Pieces {
  let before = firstLine;
  let at = BOM.every((byte, index) => bytes[index] === byte) ? BOM.length : 0;
  while (bytes.length - at > blockBytes) {
    const next = at + blockBytes;
    // A CRLF is not cut in two.
    const end = bytes[next - 1] === CR && bytes[next] === LF ? next + 1 : next;
    yield lines(before, bytes.subarray(at, end), none);
    before = none;
    at = end;
  }
  return lines(before, bytes.subarray(at), Buffer.from(`\n\n${behind()}`));
}

/** A part of the event's lines, between two texts. A block that needs no change is returned itself, without a copy. */
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
