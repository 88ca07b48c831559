import { type BodyHold, RequestMemory } from './request-memory.ts';

/** What {@link RetainedStreams} needs of a stream. */
export interface RetainedStream {
  /** Whose room it takes. */
  readonly holder: string;
  /** What it costs to keep its history; never more than when it was kept first. */
  readonly retainedBytes: number;
  /** What it costs until its readers have it; never more than when its model was done. */
  readonly undeliveredBytes: number;
  /** Whether nobody reads it. While somebody does again, it stays. */
  readonly isDelivered: boolean;
}

/** What a reader costs beside what was sent to it: the objects that make it. Measured: 12 to 13 kB. */
const readerBytes = 13_312;

interface Retained {
  readonly bytes: number;
  readonly hold: BodyHold;
}

/** What is kept of a reader without its connection. */
export interface ReaderRoom {
  /** Gives the room back. A second call does nothing. */
  readonly release: () => void;
}

/** So much of the bound is for streams that are not delivered yet and for lost readers: neither they nor history push out the other. */
const undeliveredPart = 1 / 4;

/**
 * Streams that outlive their model without a place: those that readers still have to get, and those that are kept for who comes
 * back. Both within one bound, of which a holder has room only while it would have at most twice what is free (as
 * {@link RequestMemory}), so that none takes another's. For a holder's new history that holder's oldest is let go of.
 */
export class RetainedStreams<Stream extends RetainedStream> {
  readonly #undelivered: RequestMemory;
  readonly #undeliveredHolds = new Map<Stream, BodyHold>();
  readonly #history: RequestMemory;
  readonly #onDrop: (stream: Stream) => void;
  /** History by holder; what was kept first is in front. */
  readonly #byHolder = new Map<string, Map<Stream, Retained>>();
  #drops = 0;

  /** `onDrop` hears of history that is let go of for want of room. */
  constructor(maxBytes: number, onDrop: (stream: Stream) => void) {
    const undeliveredBytes = Math.floor(maxBytes * undeliveredPart);
    this.#undelivered = new RequestMemory(undeliveredBytes);
    this.#history = new RequestMemory(maxBytes - undeliveredBytes);
    this.#onDrop = onDrop;
  }

  /** What all of them cost; never more than the bound. */
  get heldBytes(): number {
    return this.#undelivered.heldBytes + this.#history.heldBytes;
  }

  /** How much history was not kept for as long as it should have been, for want of room; in streams. */
  get drops(): number {
    return this.#drops;
  }

  /** Takes a stream whose model is done and whose readers are not. Returns `false` if there is no room for it. */
  drain(stream: Stream): boolean {
    const hold = this.#undelivered.hold(stream.holder);
    const hasRoom = hold.grow(stream.undeliveredBytes);
    if (hasRoom) this.#undeliveredHolds.set(stream, hold);
    return hasRoom;
  }

  /**
   * Takes room for a reader that has lost its connection and is not the one its stream has a place for: so much may be sent to it
   * and not be acknowledged. Returns `undefined` if there is none.
   */
  keepReader(holder: string, windowBytes: number): ReaderRoom | undefined {
    const hold = this.#undelivered.hold(holder);
    return hold.grow(readerBytes + windowBytes) ? hold : undefined;
  }

  /** Keeps a stream that is delivered. Returns `false` if there is no room for it, and then lets go of no other. */
  keep(stream: Stream): boolean {
    this.#drained(stream);
    const { holder, retainedBytes: bytes } = stream;
    const kept = this.#byHolder.get(holder) ?? new Map<Stream, Retained>();
    if (kept.has(stream)) return true;
    const oldest: Stream[] = [];
    let freedBytes = 0;
    for (const [other, held] of kept) {
      if (this.#history.hasRoom(holder, bytes, freedBytes)) break;
      if (!other.isDelivered) continue;
      oldest.push(other);
      freedBytes += held.bytes;
    }
    if (!this.#history.hasRoom(holder, bytes, freedBytes)) {
      this.#drops += 1;
      return false;
    }
    for (const other of oldest) {
      this.forget(other);
      this.#drops += 1;
      this.#onDrop(other);
    }
    const hold = this.#history.hold(holder);
    hold.grow(bytes);
    this.#byHolder.set(holder, kept.set(stream, { bytes, hold }));
    return true;
  }

  /** Gives the room of a stream back, if it has some. */
  forget(stream: Stream): void {
    this.#drained(stream);
    const kept = this.#byHolder.get(stream.holder);
    kept?.get(stream)?.hold.release();
    kept?.delete(stream);
    if (kept?.size === 0) this.#byHolder.delete(stream.holder);
  }

  #drained(stream: Stream): void {
    this.#undeliveredHolds.get(stream)?.release();
    this.#undeliveredHolds.delete(stream);
  }
}
