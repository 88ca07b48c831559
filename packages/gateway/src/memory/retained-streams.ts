import { type BodyHold, RequestMemory } from '../request-memory.ts';

/** What {@link RetainedStreams} needs of a stream. */
export interface RetainedStream {
  /** Whose room it takes. */
  readonly holder: string;
  /** What it costs to keep it; never more than when it was kept first. */
  readonly retainedBytes: number;
  /** Whether nobody reads it. While somebody does again, it stays. */
  readonly isDelivered: boolean;
}

interface Retained {
  readonly bytes: number;
  readonly hold: BodyHold;
}

/**
 * Streams that ended, that everybody has got who read them, and that are kept for who comes back: within one bound, where no
 * holder takes another's room. A holder's new stream lets go of that holder's oldest alone, and only while that holder would
 * have more than twice what is free (as {@link RequestMemory}): alone it has two thirds of the bound.
 */
export class RetainedStreams<Stream extends RetainedStream> {
  readonly #memory: RequestMemory;
  readonly #onDrop: (stream: Stream) => void;
  /** By holder; who was kept first is in front. */
  readonly #byHolder = new Map<string, Map<Stream, Retained>>();
  #drops = 0;

  /** `onDrop` hears of streams that are let go of for want of room. */
  constructor(maxBytes: number, onDrop: (stream: Stream) => void) {
    this.#memory = new RequestMemory(maxBytes);
    this.#onDrop = onDrop;
  }

  /** What all of them cost; never more than the bound. */
  get heldBytes(): number {
    return this.#memory.heldBytes;
  }

  /** How many streams were not kept for as long as they should have been, for want of room. */
  get drops(): number {
    return this.#drops;
  }

  /** Keeps a stream. Returns `false` if there is no room for it, and then lets go of nothing. */
  keep(stream: Stream): boolean {
    const { holder, retainedBytes: bytes } = stream;
    const kept = this.#byHolder.get(holder) ?? new Map<Stream, Retained>();
    if (kept.has(stream)) return true;
    const oldest: Stream[] = [];
    let freedBytes = 0;
    for (const [other, held] of kept) {
      if (this.#memory.hasRoom(holder, bytes, freedBytes)) break;
      if (!other.isDelivered) continue;
      oldest.push(other);
      freedBytes += held.bytes;
    }
    if (!this.#memory.hasRoom(holder, bytes, freedBytes)) {
      this.#drops += 1;
      return false;
    }
    for (const other of oldest) {
      this.forget(other);
      this.#drops += 1;
      this.#onDrop(other);
    }
    const hold = this.#memory.hold(holder);
    hold.grow(bytes);
    this.#byHolder.set(holder, kept.set(stream, { bytes, hold }));
    return true;
  }

  /** Gives the room of a stream back, if it has some. */
  forget(stream: Stream): void {
    const kept = this.#byHolder.get(stream.holder);
    kept?.get(stream)?.hold.release();
    kept?.delete(stream);
    if (kept?.size === 0) this.#byHolder.delete(stream.holder);
  }
}
