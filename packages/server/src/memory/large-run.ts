import type { EventRun } from '@spillway/core/format/sse';
import type { EventPlace } from './event-memory.ts';

/** An event that has a place in the memory of large events, for as long as anybody holds it. */
export class LargeRun implements EventRun {
  readonly bytes: Uint8Array;
  readonly byteLength: number;
  readonly events: number;
  readonly #place: EventPlace;
  #holders = 1;

  /** Whoever makes it is its first holder. The run must not be lent. */
  constructor({ byteLength, bytes, events }: EventRun, place: EventPlace) {
    this.bytes = bytes;
    this.byteLength = byteLength;
    this.events = events;
    this.#place = place;
    place.settle(byteLength);
  }

  /** One more holds it, and has to let go of it once. */
  hold(): void {
    this.#holders += 1;
  }

  letGo(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.#place.release();
  }
}
