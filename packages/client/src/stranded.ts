import type { SessionOptions } from './session-options.ts';
import type { SessionStream } from './session-stream.ts';

/**
 * Which streams get nothing, although their connection comes back: each time it is cut in the middle of an event, which never
 * comes whole. A stream that gets nothing because its model is quiet is none of these. What tells them apart is the order of what a
 * gateway sends (rule 5.8): what was on its way to each stream again, stream by stream, and then the pong to the ping behind them.
 */
export class Stranded {
  readonly #options: Pick<SessionOptions, 'clock' | 'giveUpAfterMs'>;
  /** When the connection was lost since which nothing has come. */
  #since = new Map<SessionStream, number>();
  /** The pong that comes behind everything that is there for a stream. */
  readonly #pongOf = new Map<SessionStream, number>();
  /** The number of the last stream that was resumed on this connection. */
  #lastResumed = 0;
  /** The greatest number of a stream of which something came over this connection. */
  #heardTo = 0;
  #hasBrought = false;

  constructor(options: Pick<SessionOptions, 'clock' | 'giveUpAfterMs'>) {
    this.#options = options;
  }

  /** There is another connection. */
  opened(): void {
    this.#pongOf.clear();
    this.#lastResumed = 0;
    this.#heardTo = 0;
    this.#hasBrought = false;
  }

  /** The gateway was asked for what is on its way to a stream, and then for a pong. */
  resumed(stream: SessionStream, pong: number): void {
    this.#pongOf.set(stream, pong);
    this.#lastResumed = Math.max(this.#lastResumed, stream.number);
  }

  /** It is opened anew on this connection: the pong says nothing of what follows. */
  released(stream: SessionStream): void {
    this.#pongOf.delete(stream);
  }

  /** The gateway has begun to answer a stream anew, and was asked for a pong then. */
  answered(stream: SessionStream, pong: number): void {
    this.#pongOf.set(stream, pong);
  }

  /** A frame came for the stream with that number. */
  heard(number: number): void {
    if (number > this.#heardTo) this.#heardTo = number;
  }

  /** Something new of a stream came. */
  arrived(stream: SessionStream): void {
    this.#hasBrought = true;
    if (this.#since.size > 0) this.#since.delete(stream);
  }

  left(stream: SessionStream): void {
    this.#since.delete(stream);
    this.#pongOf.delete(stream);
  }

  /**
   * The connection is lost. Of the streams that it carried, returns those to give up, and the one that was cut while others may
   * have waited behind it. `hasBrought`: it was good for something, or nobody waits for anything.
   */
  lost(carried: Iterable<SessionStream>, pongs: number): Loss {
    const { clock, giveUpAfterMs } = this.#options;
    const now = clock.nowMs();
    const before = this.#since;
    this.#since = new Map();
    const expired: SessionStream[] = [];
    let cut: SessionStream | undefined;
    let isAnyStuck = false;
    for (const stream of carried) {
      const since = this.#hasAll(stream, pongs) ? now : (before.get(stream) ?? now);
      this.#since.set(stream, since);
      if (since === now) continue;
      isAnyStuck = true;
      if (stream.number === this.#heardTo) cut = stream;
      if (now - since >= giveUpAfterMs) expired.push(stream);
    }
    return { expired, cut, hasBrought: this.#hasBrought || !isAnyStuck };
  }

  /** Whether everything came that was there for a stream when this connection took it over. */
  #hasAll(stream: SessionStream, pongs: number): boolean {
    const pong = this.#pongOf.get(stream);
    if (pong === undefined) return false;
    const isResumed = stream.number <= this.#lastResumed;
    return pong <= pongs || (isResumed && stream.number < this.#heardTo);
  }
}

interface Loss {
  readonly expired: readonly SessionStream[];
  readonly cut: SessionStream | undefined;
  readonly hasBrought: boolean;
}
