import type { ChunkAddresses, ChunkMemory } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { LargeRun } from './large-run.ts';

/** The bytes before a run: its number of bytes and its number of events, four bytes each. */
const headerBytes = 8;
/** The buffer size of a stream with its first event. */
const minBytes = 1024;
/** The buffer doubles up to this size, and then grows by this size. */
const stepBytes = 8192;
/** With a larger part in use, a move of the runs to the front would gain too little. */
const maxUsedPart = 3 / 4;
/** A larger run is an object with memory of its own. */
const maxRunBytes = 2048;

/** A copy with memory of its own. A small piece of Node's pool would keep 64 KiB alive. */
export function ownCopy(bytes: Uint8Array, start = 0, end = bytes.length): Buffer {
  const own = Buffer.allocUnsafeSlow(end - start);
  own.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
  return own;
}

/** A channel's bytes, made safe to keep for long: small ones are copied, because they are from Node's pool. */
export function holdable(bytes: Uint8Array): Uint8Array {
  return bytes.length > maxRunBytes ? bytes : ownCopy(bytes);
}

/** A run with a copy of its bytes. */
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
 * One stream's runs, one after another in one buffer. When there is no room at the end, the runs that are left move to
 * the front. If they fill more than three quarters of the buffer, or the new run still does not fit, they move to a
 * larger one.
 *
 *     base        oldest                     end       base + buffer.length
 *      ▼            ▼                         ▼                 ▼
 *      · · · · · · [header, run][header, run] · · · · · · · · ·
 */
export class RunMemory implements ChunkMemory<EventRun> {
  #buffer = empty;
  /** The address of the buffer's first byte. */
  #base = 0;
  /** The number of bytes of the buffer that are used. */
  #end = 0;

  /** The memory that the buffer takes of the process. */
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
    // The bytes of a merged run belong to that run alone, too.
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

  /** Moves the used bytes to the front of a buffer of `length` bytes. */
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

/** The buffer size for `bytes`, at least `from`. */
function sizeFor(bytes: number, from = 0): number {
  if (bytes === 0) return 0;
  let length = Math.max(from, minBytes);
  while (length < bytes) length = Math.min(length * 2, length + stepBytes);
  return length;
}
