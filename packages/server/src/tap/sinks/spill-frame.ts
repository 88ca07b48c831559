import { crc32 } from 'node:zlib';
import type { SinkRecord } from '@spillway/core';

/** The beginning of a frame: bytes that JSON does not have, so that a reader finds the next frame behind damage. */
const magic = Buffer.from([0x00, 0x53, 0x50, 0x01]);
/** magic · crc32 of what follows · bytes of the payload · number of the first record in the queue */
const headBytes = 20;
/** Of a record, beside its stream and its value: bytes of the stream (1), number (8), bytes of the value (4). */
const recordHeadBytes = 13;

/** The records of one append, which are kept together or not at all. */
export interface SpillFrame {
  readonly records: readonly SinkRecord[];
  /** The number of the first record among all that the queue has ever had. */
  readonly ordinal: number;
  /** Where the frame begins and ends in its segment. */
  readonly from: number;
  readonly to: number;
}

/** Returns a frame's bytes. */
export function encodeFrame(records: readonly SinkRecord[], ordinal: number): Buffer {
  const payload = records.flatMap(({ stream, seq, value }) => {
    const head = Buffer.alloc(recordHeadBytes);
    head.writeUInt8(stream.length, 0);
    head.writeDoubleLE(seq, 1);
    head.writeUInt32LE(value.length, 9);
    return [head, Buffer.from(stream, 'latin1'), value];
  });
  const frame = Buffer.concat([Buffer.alloc(headBytes), ...payload]);
  magic.copy(frame);
  frame.writeUInt32LE(frame.length - headBytes, 8);
  frame.writeDoubleLE(ordinal, 12);
  frame.writeUInt32LE(crc32(frame.subarray(8)), 4);
  return frame;
}

/** The frames of a segment, and what of it is none. */
export interface SpillFrames {
  readonly frames: readonly SpillFrame[];
  /** Bytes that are no frame, but for a last one that was cut: that one was never acknowledged. */
  readonly damagedBytes: number;
}

/** Finds the frames of a segment. The values of their records are parts of it. */
export function readFrames(segment: Buffer): SpillFrames {
  const frames: SpillFrame[] = [];
  let damagedBytes = 0;
  let position = 0;
  for (let from = segment.indexOf(magic); from !== -1;) {
    const frame = decodeFrame(segment, from);
    if (frame === undefined) {
      from = segment.indexOf(magic, from + 1);
      continue;
    }
    frames.push(frame);
    damagedBytes += from - position;
    position = frame.to;
    from = segment.indexOf(magic, position);
  }
  const rest = segment.subarray(position);
  return { frames, damagedBytes: damagedBytes + (isCut(rest) ? 0 : rest.length) };
}

function decodeFrame(segment: Buffer, from: number): SpillFrame | undefined {
  if (from + headBytes > segment.length) return undefined;
  const to = from + headBytes + segment.readUInt32LE(from + 8);
  if (to > segment.length) return undefined;
  if (crc32(segment.subarray(from + 8, to)) !== segment.readUInt32LE(from + 4)) return undefined;
  const records: SinkRecord[] = [];
  for (let at = from + headBytes; at < to;) {
    const streamAt = at + recordHeadBytes;
    const valueAt = streamAt + segment.readUInt8(at);
    const next = valueAt + segment.readUInt32LE(at + 9);
    records.push({
      stream: segment.toString('latin1', streamAt, valueAt),
      seq: segment.readDoubleLE(at + 1),
      value: segment.subarray(valueAt, next),
    });
    at = next;
  }
  return { records, ordinal: segment.readDoubleLE(from + 12), from, to };
}

/** Whether a crash left these bytes of an append: a frame that is longer than they are, or pages that were not written. */
function isCut(rest: Buffer): boolean {
  const beginning = rest.subarray(0, magic.length);
  if (!beginning.equals(magic.subarray(0, rest.length))) return rest.every((byte) => byte === 0);
  if (rest.length < headBytes) return true;
  const to = headBytes + rest.readUInt32LE(8);
  return to > rest.length || rest.includes(unwrittenPage);
}

/** What a disk that lost its power has instead of a page. */
const unwrittenPage = Buffer.alloc(512);
