import { type DeltaEvent, writeDelta } from './delta-event.ts';
import type { EventRun } from './sse.ts';

/** An event that may be merged, or the bytes of some that may not. */
export type Part = DeltaEvent | Uint8Array;

/** So many parts at either end of a run may be merged with what comes: the last one, if it is held back, by way of the one before. */
const openParts = 2;
/** With more parts, those in the middle become bytes: a run costs what its bytes cost, and not what its events would. */
export const maxParts = 8;

/** A run that others may be merged with: its events as they are known, and their bytes when somebody asks for them. */
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

/** The parts with those in the middle as bytes. */
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
