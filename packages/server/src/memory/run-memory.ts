import type { ChunkAddresses, ChunkMemory } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { LargeRun } from './large-run.ts';

/** Before a run: its bytes and its events, four bytes each. */
const headerBytes = 8;
/** What a stream has from its first event on. */
const minBytes = 1024;
/** It doubles up to here, and grows by so much beyond. */
const stepBytes = 8192;
/** More than this of it in use, and moving the rest to the front would gain too little. */
const maxUsedPart = 3 / 4;
/** What is larger is an object with memory of its own. */
const maxRunBytes = 2048;

/** A copy with memory of its own: of Node's pool, a small piece that lives for long would keep 64 KiB. */
export function ownCopy(bytes: Uint8Array, start = 0, end = bytes.length): Buffer {
  const own = Buffer.allocUnsafeSlow(end - start);
  own.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
  return own;
}

/** Bytes that a channel gave, to be held for long: small ones are of Node's pool. */
export function holdable(bytes: Uint8Array): Uint8Array {
  return bytes.length > maxRunBytes ? bytes : ownCopy(bytes);
}

/** A run that nobody lent. */
class OwnRun implements EventRun {
  readonly bytes: Uint8Array;
  readonly byteLength: number;
  readonly events: number;

  constructor({ byteLength, bytes, events }: EventRun) {
    this.bytes = ownCopy(bytes);
    this.byteLength = byteLength;
    this.events = events;
  }
}

const empty = Buffer.alloc(0);

/**
 * One stream's runs, one behind the other in one buffer. What is let go of in front is used again when there is no room behind: the
 * rest moves to the front, if that is at most three quarters of the buffer, or to a larger one.
 *
 *     base        oldest                     end       base + buffer.length
 *      ▼            ▼                         ▼                 ▼
 *      · · · · · · [header, run][header, run] · · · · · · · · ·
 */
export class RunMemory implements ChunkMemory<EventRun> {
  #buffer = empty;
  /** The address at which the buffer begins. */
  #base = 0;
  /** How much of the buffer is used. */
  #end = 0;

  /** What it takes of the process's memory. */
  get allocatedBytes(): number {
    return this.#buffer.length;
  }

  put(run: EventRun, addresses: ChunkAddresses): number {
    const { byteLength, events } = run;
    if (byteLength > maxRunBytes) return -1;
    const needed = headerBytes + byteLength;
    if (this.#end + needed > this.#buffer.length) this.#makeRoom(needed, addresses.oldestAddress);
    const at = this.#end;
    const buffer = this.#buffer;
    buffer.writeUInt32LE(byteLength, at);
    buffer.writeUInt32LE(events, at + 4);
    buffer.set(run.bytes, at + headerBytes);
    this.#end = at + needed;
    return this.#base + at;
  }

  get(address: number): EventRun {
    const buffer = this.#buffer;
    const at = address - this.#base;
    const byteLength = buffer.readUInt32LE(at);
    const bytes = Buffer.allocUnsafe(byteLength);
    buffer.copy(bytes, 0, at + headerBytes, at + headerBytes + byteLength);
    return { bytes, byteLength, events: buffer.readUInt32LE(at + 4) };
  }

  own(run: EventRun): EventRun {
    // What was merged is nobody else's, either.
    const isOwn = run instanceof OwnRun || run instanceof LargeRun || run.mergedEvents !== undefined;
    return isOwn ? run : new OwnRun(run);
  }

  shrink({ oldestAddress }: ChunkAddresses, isLast = false): void {
    const usedBytes = this.#usedFrom(oldestAddress);
    if (isLast) this.#move(oldestAddress, usedBytes);
    else if (usedBytes < this.#buffer.length / 4) this.#move(oldestAddress, sizeFor(usedBytes));
  }

  #makeRoom(bytes: number, oldestAddress: number): void {
    const usedBytes = this.#usedFrom(oldestAddress);
    const { length } = this.#buffer;
    const isEnough = usedBytes <= length * maxUsedPart && usedBytes + bytes <= length;
    this.#move(oldestAddress, isEnough ? length : sizeFor(Math.max(usedBytes + bytes, length + 1), length));
  }

  #usedFrom(oldestAddress: number): number {
    return Math.max(0, this.#base + this.#end - oldestAddress);
  }

  /** Moves what is used to the front of a buffer of that size. */
  #move(oldestAddress: number, length: number): void {
    const usedBytes = this.#usedFrom(oldestAddress);
    const buffer = this.#buffer;
    const next = length === buffer.length ? buffer : length === 0 ? empty : Buffer.allocUnsafeSlow(length);
    buffer.copy(next, 0, this.#end - usedBytes, this.#end);
    this.#base += this.#end - usedBytes;
    this.#end = usedBytes;
    this.#buffer = next;
  }
}

/** The size of a buffer that was of one size and shall hold so much. */
function sizeFor(bytes: number, from = 0): number {
  if (bytes === 0) return 0;
  let length = Math.max(from, minBytes);
  while (length < bytes) length = Math.min(length * 2, length + stepBytes);
  return length;
}
