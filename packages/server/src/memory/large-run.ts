import type { EventRun } from '@spillway/core/format/sse';
import type { EventPlace } from './event-memory.ts';

/** A run of one large event. It has a place in EventMemory until its last holder releases it. */
export class LargeRun implements EventRun {
  readonly bytes: Uint8Array;
  readonly byteLength: number;
  readonly events: number;
  readonly #place: EventPlace;
  #holders = 1;

  /** The code that makes the run is its first holder. The run's bytes must not be lent. */
  constructor({ byteLength, bytes, events }: EventRun, place: EventPlace) {
    this.bytes = bytes;
    this.byteLength = byteLength;
    this.events = events;
    this.#place = place;
    place.settle(byteLength);
  }

  /** Adds a holder, which has to call `release` once. */
  hold(): void {
    this.#holders += 1;
  }

  release(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.#place.release();
  }
}
