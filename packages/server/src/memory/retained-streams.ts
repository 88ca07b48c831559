import { type BodyHold, RequestMemory } from './request-memory.ts';

/** A stream, as far as {@link RetainedStreams} needs it. */
export interface RetainedStream {
  /** The holder whose room the stream takes. */
  readonly holder: string;
  /** The cost of the stream's history. It never grows after the history was first kept. */
  readonly retainedBytes: number;
  /** The cost of the stream until its readers have it. It never grows after the model has finished. */
  readonly undeliveredBytes: number;
  /** Whether no reader reads the stream. While one reads it again, its history is not dropped. */
  readonly isDelivered: boolean;
}

/** The memory of a reader beside the chunks sent to it: the objects that make it. Measured: 12 to 13 kB. */
const readerBytes = 13_312;

interface Retained {
  readonly bytes: number;
  readonly hold: BodyHold;
}

/** The room of a reader that has lost its connection. */
export interface ReaderRoom {
  /** Gives the room back. A second call does nothing. */
  readonly release: () => void;
}

/** The part of the bound for undelivered streams and lost readers. Neither they nor history can push out the other. */
const undeliveredPart = 1 / 4;

/**
 * Ended streams without a place of maxStreams: those that readers still have to get, and those kept for readers that
 * come back. Both stay within one bound. A holder takes room only while it would hold at most twice what is free, as
 * in {@link RequestMemory}, so that it cannot take another's. When a holder's new history needs room, its oldest is
 * dropped.
 */
export class RetainedStreams<Stream extends RetainedStream> {
  readonly #undelivered: RequestMemory;
  readonly #undeliveredHolds = new Map<Stream, BodyHold>();
  readonly #history: RequestMemory;
  readonly #onDrop: (stream: Stream) => void;
  /** History by holder, the oldest first. */
  readonly #byHolder = new Map<string, Map<Stream, Retained>>();
  #drops = 0;

  /** `onDrop` is called for history that is dropped for want of room. */
  constructor(maxBytes: number, onDrop: (stream: Stream) => void) {
    const undeliveredBytes = Math.floor(maxBytes * undeliveredPart);
    this.#undelivered = new RequestMemory(undeliveredBytes);
    this.#history = new RequestMemory(maxBytes - undeliveredBytes);
    this.#onDrop = onDrop;
  }

  /** The cost of all of them: never more than the bound. */
  get heldBytes(): number {
    return this.#undelivered.heldBytes + this.#history.heldBytes;
  }

  /** The number of streams whose history was dropped early, or not kept, for want of room. */
  get drops(): number {
    return this.#drops;
  }

  /** Takes an ended stream that readers still have to get. Returns `false` if there is no room for it. */
  drain(stream: Stream): boolean {
    const hold = this.#undelivered.hold(stream.holder);
    const hasRoom = hold.grow(stream.undeliveredBytes);
    if (hasRoom) this.#undeliveredHolds.set(stream, hold);
    return hasRoom;
  }

  /**
   * Takes room for a lost reader without a place: the reader may be sent `windowBytes` that it has not acknowledged.
   * Returns `undefined` if there is no room.
   */
  keepReader(holder: string, windowBytes: number): ReaderRoom | undefined {
    const hold = this.#undelivered.hold(holder);
    return hold.grow(readerBytes + windowBytes) ? hold : undefined;
  }

  /**
   * Keeps the history of a delivered stream. Returns `false` if there is no room for it; no other history is then
   * dropped.
   */
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

  /** Gives the stream's room back, if it has some. */
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
