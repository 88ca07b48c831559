import type { SessionOptions } from './session-options.ts';
import type { SessionStream } from './session-stream.ts';

/**
 * Finds streams that get nothing although their connection comes back: every connection is cut in the middle of an
 * event, which never comes whole. A stream whose model is quiet is not among them. The order of the gateway's frames
 * tells the two apart (rule 5.8): first the frames under way to each resumed stream, stream by stream, then the pong to
 * the ping sent after the streams.
 */
export class Stranded {
  readonly #options: Pick<SessionOptions, 'clock' | 'giveUpAfterMs'>;
  /** For each stream, when the first connection was lost after which nothing of the stream came. */
  #since = new Map<SessionStream, number>();
  /** For each stream, the number of the pong that comes after all its frames under way. */
  readonly #pongOf = new Map<SessionStream, number>();
  /** The number of the last stream that was resumed on this connection. */
  #lastResumed = 0;
  /** The highest number of a stream for which a frame came over this connection. */
  #heardTo = 0;
  #hasBrought = false;

  constructor(options: Pick<SessionOptions, 'clock' | 'giveUpAfterMs'>) {
    this.#options = options;
  }

  /** Called when there is a new connection. */
  opened(): void {
    this.#pongOf.clear();
    this.#lastResumed = 0;
    this.#heardTo = 0;
    this.#hasBrought = false;
  }

  /** Called when the gateway was asked for a stream's frames under way, and then for a pong. */
  resumed(stream: SessionStream, pong: number): void {
    this.#pongOf.set(stream, pong);
    this.#lastResumed = Math.max(this.#lastResumed, stream.number);
  }

  /** Called when a stream is opened anew on this connection: the pong says nothing of its later frames. */
  released(stream: SessionStream): void {
    this.#pongOf.delete(stream);
  }

  /** The gateway has begun to answer a stream that is read anew, and a ping was sent then. */
  answered(stream: SessionStream, pong: number): void {
    this.#pongOf.set(stream, pong);
  }

  /** Called when a frame came for the stream with that number. */
  heard(number: number): void {
    if (number > this.#heardTo) this.#heardTo = number;
  }

  /** Called when something new of a stream came. */
  arrived(stream: SessionStream): void {
    this.#hasBrought = true;
    if (this.#since.size > 0) this.#since.delete(stream);
  }

  left(stream: SessionStream): void {
    this.#since.delete(stream);
    this.#pongOf.delete(stream);
  }

  /**
   * Called when the connection is lost. Returns the streams to give up (`expired`), and the stream that was cut while
   * frames of others may have waited after its own (`cut`). `hasBrought`: the connection brought something, or no
   * stream is stranded.
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

  /** Whether all frames arrived that were under way to a stream when this connection took it over. */
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
