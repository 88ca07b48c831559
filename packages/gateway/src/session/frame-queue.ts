/** How many frames of a client are handled before everybody else has their turn: of one whose key is known, and of a stranger. */
const knownFramesPerTurn = 16;
const strangerFramesPerTurn = 1;

export interface FrameQueueOptions {
  readonly handle: (message: Buffer) => void;
  /** Whether the next one may be handled; if not, `run` is called when that has changed. */
  readonly mayHandle: () => boolean;
  readonly isKnown: () => boolean;
}

/**
 * The frames of a session that were read and are not handled yet: one read of a socket may bring thousands. The session is
 * not read while there are some, so they are what two reads bring at most, which is 128 KiB.
 */
export class FrameQueue {
  readonly #options: FrameQueueOptions;
  readonly #messages: Buffer[] = [];
  #handled = 0;
  /** Ends the turn in which frames were handled. */
  #turn: NodeJS.Immediate | undefined;

  constructor(options: FrameQueueOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  push(message: Buffer): void {
    this.#messages.push(message);
    this.run();
  }

  /** Handles what this turn allows. */
  run(): void {
    const { handle, isKnown, mayHandle } = this.#options;
    while (this.#handled < (isKnown() ? knownFramesPerTurn : strangerFramesPerTurn) && mayHandle()) {
      const message = this.#messages.shift();
      if (message === undefined) return;
      this.#handled += 1;
      this.#turn ??= setImmediate(() => this.#nextTurn());
      handle(message);
    }
  }

  clear(): void {
    this.#messages.length = 0;
    clearImmediate(this.#turn);
    this.#turn = undefined;
  }

  #nextTurn(): void {
    this.#turn = undefined;
    this.#handled = 0;
    this.run();
  }
}
