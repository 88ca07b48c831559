import type { BodyHold } from '../memory/request-memory.ts';
import type { ServerClock } from '../time/server-clock.ts';
import { FrameHeads } from './frame-heads.ts';

/** The memory that a read of a socket costs beside its bytes. */
const readOverheadBytes = 256;
/** Bytes that a session may always hold. With these, a session without further room still understands an ack. */
const freeBytes = 4096;
/**
 * The frames handled in one turn, so that other work has its turn: for a client with an accepted key, and for a
 * stranger.
 */
const knownFramesPerTurn = 16;
const strangerFramesPerTurn = 1;

export interface IntakeOptions {
  readonly clock: Pick<ServerClock, 'nextTurn' | 'nowMs'>;
  /** The parser: finds messages in bytes, and handles them at once. */
  readonly parse: (bytes: Buffer) => void;
  /** Whether the next frame may be handled. When the answer changes, call `run`. */
  readonly mayHandle: () => boolean;
  /** Runs the work of a later turn, and ends the session if that throws. */
  readonly contain: (work: () => void) => void;
  /** Called after each turn in which a frame was handled. */
  readonly onTurn: () => void;
}

/**
 * A session's received bytes, on their way to the parser. One read may bring ten thousand frames, so only a few are
 * handled in a turn; none while the client does not take the answers. All held bytes count, in the parser too, by
 * whole reads: a message keeps the memory of the whole read that it began in. Above 4 KiB they need room in a hold.
 */
export class Intake {
  isKnown = false;
  readonly #options: IntakeOptions;
  readonly #heads = new FrameHeads();
  /** Reads that the parser has not got. `#at`: how much of the first read it has got. */
  readonly #waiting: Buffer[] = [];
  #at = 0;
  #hold: BodyHold;
  #waitingBytes = 0;
  /** The size of the reads that hold a part of a message in the parser. */
  #partBytes = 0;
  #heldBytes = 0;
  #partSinceMs: number | undefined;
  #framesInTurn = 0;
  #hasTurn = false;
  #isStopped = false;

  constructor(hold: BodyHold, options: IntakeOptions) {
    this.#hold = hold;
    this.#options = options;
  }

  /** Whether no read waits for the parser. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** When the message began that has come only in part; `undefined`: there is none. */
  get partSinceMs(): number | undefined {
    return this.#partSinceMs;
  }

  /** Takes a read. Returns `false` when there is no room for it; then call `stop`. */
  take(chunk: Buffer): boolean {
    if (this.#isStopped) return true;
    this.#waiting.push(chunk);
    this.#waitingBytes += costOf(chunk);
    if (!this.#resize()) return false;
    this.run();
    return true;
  }

  /** Gives the parser the frames that may be handled in this turn. */
  run(): void {
    const maxFrames = this.isKnown ? knownFramesPerTurn : strangerFramesPerTurn;
    while (this.#framesInTurn < maxFrames && this.#options.mayHandle()) {
      const [chunk] = this.#waiting;
      if (chunk === undefined) return;
      this.#framesInTurn += 1;
      if (!this.#hasTurn) this.#options.clock.nextTurn(this.#onTurn);
      this.#hasTurn = true;
      this.#handOver(chunk);
    }
  }

  /** Moves the held bytes to another hold. Returns `false` when that has no room for them. */
  moveTo(hold: BodyHold): boolean {
    this.#hold.release();
    this.#hold = hold;
    this.#heldBytes = 0;
    return this.#resize();
  }

  /** Gives the parser nothing more, and releases the held bytes. */
  stop(): void {
    this.#isStopped = true;
    this.#waiting.length = 0;
    this.#partSinceMs = undefined;
    this.#hold.release();
  }

  #handOver(chunk: Buffer): void {
    const heads = this.#heads;
    const from = this.#at;
    this.#at += heads.takeFrame(from === 0 ? chunk : chunk.subarray(from));
    const frame = from === 0 && this.#at === chunk.length ? chunk : chunk.subarray(from, this.#at);
    if (!heads.isInside) this.#partBytes = 0;
    if (this.#at === chunk.length) {
      this.#at = 0;
      this.#waiting.shift();
      this.#waitingBytes -= costOf(chunk);
      if (heads.isInside) this.#partBytes += costOf(chunk);
    }
    this.#partSinceMs = heads.isInside ? (this.#partSinceMs ?? this.#options.clock.nowMs()) : undefined;
    // A whole message is held by its handler from here on.
    this.#resize();
    this.#options.parse(frame);
    if (heads.isConcluded) this.stop();
  }

  /** Makes the hold as large as the waiting reads. Returns `false` when there is no room. */
  #resize(): boolean {
    const bytes = Math.max(0, this.#waitingBytes + this.#partBytes - freeBytes);
    const more = bytes - this.#heldBytes;
    if (more > 0 && !this.#hold.grow(more)) return false;
    if (more < 0) this.#hold.shrink(-more);
    this.#heldBytes = bytes;
    return true;
  }

  readonly #onTurn = (): void => this.#options.contain(() => this.#nextTurn());

  #nextTurn(): void {
    if (this.#isStopped) return;
    this.#hasTurn = false;
    this.#framesInTurn = 0;
    this.run();
    this.#options.onTurn();
  }
}

function costOf(chunk: Buffer): number {
  return chunk.length + readOverheadBytes;
}
