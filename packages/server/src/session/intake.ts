import type { BodyHold } from '../memory/request-memory.ts';
import { FrameHeads } from './frame-heads.ts';

/** What a read of a socket costs beside its bytes. */
const readOverheadBytes = 256;
/** Bytes that a session may hold in any case, so that one that has no room for more still understands an ack. */
const freeBytes = 4096;
/** How many frames are handled before everybody else has their turn: of a client whose key is known, and of a stranger. */
const knownFramesPerTurn = 16;
const strangerFramesPerTurn = 1;

export interface IntakeOptions {
  /** Whoever finds messages in bytes, and handles them at once. */
  readonly parse: (bytes: Buffer) => void;
  /** Whether the next frame may be handled; when that has changed, call `run`. */
  readonly mayHandle: () => boolean;
  /** Calls what is done in a turn of its own, and ends the session if that throws. */
  readonly contain: (work: () => void) => void;
  /** Called behind each turn in which something was handled. */
  readonly onTurn: () => void;
}

/**
 * What a session has received, on its way to the parser: so many frames a turn, because one read may bring ten thousand, and
 * none while its client does not take the answers. All that is held, in the parser too, is counted as it comes, in whole
 * reads: a message keeps all of the memory that its first byte came in. More than 4 KiB need the room of a hold.
 */
export class Intake {
  isKnown = false;
  readonly #options: IntakeOptions;
  readonly #heads = new FrameHeads();
  /** Reads that are not handed over, and how much of the first one is. */
  readonly #waiting: Buffer[] = [];
  #at = 0;
  #hold: BodyHold;
  #waitingBytes = 0;
  /** The reads in which a part of a message came that the parser keeps. */
  #partBytes = 0;
  #heldBytes = 0;
  #partSinceMs: number | undefined;
  #framesInTurn = 0;
  #turn: NodeJS.Immediate | undefined;
  #isStopped = false;

  constructor(hold: BodyHold, options: IntakeOptions) {
    this.#hold = hold;
    this.#options = options;
  }

  /** Nothing waits for the parser. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** When the message began of which a part has come; `undefined`: there is none. */
  get partSinceMs(): number | undefined {
    return this.#partSinceMs;
  }

  /** Takes what came. Returns `false` when there is no room for it; then call `stop`. */
  take(chunk: Buffer): boolean {
    if (this.#isStopped) return true;
    this.#waiting.push(chunk);
    this.#waitingBytes += costOf(chunk);
    if (!this.#resize()) return false;
    this.run();
    return true;
  }

  /** Hands over what may be handled in this turn. */
  run(): void {
    const maxFrames = this.isKnown ? knownFramesPerTurn : strangerFramesPerTurn;
    while (this.#framesInTurn < maxFrames && this.#options.mayHandle()) {
      const [chunk] = this.#waiting;
      if (chunk === undefined) return;
      this.#framesInTurn += 1;
      this.#turn ??= setImmediate(() => this.#options.contain(() => this.#nextTurn()));
      this.#handOver(chunk);
    }
  }

  /** Takes its room from another hold from now on. Returns `false` when there is none. */
  moveTo(hold: BodyHold): boolean {
    this.#hold.release();
    this.#hold = hold;
    this.#heldBytes = 0;
    return this.#resize();
  }

  /** Nothing more is handed over. */
  stop(): void {
    this.#isStopped = true;
    clearImmediate(this.#turn);
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
    this.#partSinceMs = heads.isInside ? (this.#partSinceMs ?? performance.now()) : undefined;
    // Whoever gets a whole message holds it by itself from here on.
    this.#resize();
    this.#options.parse(frame);
    if (heads.isConcluded) this.stop();
  }

  /** Holds as much as there is. */
  #resize(): boolean {
    const bytes = Math.max(0, this.#waitingBytes + this.#partBytes - freeBytes);
    const more = bytes - this.#heldBytes;
    if (more > 0 && !this.#hold.grow(more)) return false;
    if (more < 0) this.#hold.shrink(-more);
    this.#heldBytes = bytes;
    return true;
  }

  #nextTurn(): void {
    this.#turn = undefined;
    this.#framesInTurn = 0;
    this.run();
    this.#options.onTurn();
  }
}

function costOf(chunk: Buffer): number {
  return chunk.length + readOverheadBytes;
}
