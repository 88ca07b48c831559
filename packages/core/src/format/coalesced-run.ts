import { type DeltaEvent, writeDelta } from './delta-event.ts';
import type { EventRun } from './sse.ts';

/** An event that may be merged, or the bytes of events that may not. */
export type Part = DeltaEvent | Uint8Array;

/**
 * The number of parts at either end of a run that later merges may still change. The last part may be held back, so the
 * one before it counts, too.
 */
const openParts = 2;
/**
 * With more parts than this, the parts in the middle become bytes. So a run costs about as much as its bytes, not as
 * its events.
 */
export const maxParts = 8;

/** A run that others may be merged with. Its events are kept as parts, and become bytes when `bytes` is read. */
export class CoalescedRun implements EventRun {
  readonly parts: readonly Part[];
  readonly events: number;
  readonly mergedEvents: number;
  readonly byteLength: number;
  #bytes: Uint8Array | undefined;

  constructor(parts: readonly Part[], events: number, mergedEvents: number) {
    this.parts = parts.length > maxParts ? settled(parts) : parts;
    this.events = events;
    this.mergedEvents = mergedEvents;
    this.byteLength = lengthOf(parts);
  }

  get bytes(): Uint8Array {
    this.#bytes ??= bytesOf(this.parts);
    return this.#bytes;
  }
}

/** Joins the parts in the middle to bytes. */
function settled(parts: readonly Part[]): Part[] {
  const middle = bytesOf(parts.slice(openParts, -openParts));
  return [...parts.slice(0, openParts), middle, ...parts.slice(-openParts)];
}

function lengthOf(parts: readonly Part[]): number {
  return parts.reduce((sum, part) => sum + part.byteLength, 0);
}

function bytesOf(parts: readonly Part[]): Uint8Array {
  const bytes = new Uint8Array(lengthOf(parts));
  let at = 0;
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      bytes.set(part, at);
      at += part.length;
    } else {
      at = writeDelta(part, bytes, at);
    }
  }
  return bytes;
}
