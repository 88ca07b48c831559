import type { Credit } from '../credit/credit.ts';

/** All windows of a reader as one: each has to allow a chunk, and each is spent. */
export class ReaderCredit {
  readonly #windows: readonly Credit[];
  /** Stops listening for grants; there is something to stop only while somebody waits. */
  #unlisten: (() => void)[] = [];

  readonly #onBlocked: (() => void) | undefined;
  #isBlocked = false;

  /** `onBlocked` is called by {@link blocked}, once until something is granted. */
  constructor(windows: readonly Credit[], onBlocked: (() => void) | undefined) {
    this.#windows = windows;
    this.#onBlocked = onBlocked;
  }

  /** Something waits that is not allowed. */
  blocked(): void {
    if (this.#isBlocked || this.isUnlimited) return;
    this.#isBlocked = true;
    this.#onBlocked?.();
  }

  /** Whether nothing limits the reader. */
  get isUnlimited(): boolean {
    return this.#windows.length === 0;
  }

  /** The most bytes that all windows can ever allow. */
  get maxBytes(): number {
    return Math.min(...this.#windows.map(({ max }) => max.bytes));
  }

  allows(bytes: number, ms: number): boolean {
    return this.#windows.every((credit) => credit.allows(1, bytes, ms));
  }

  /** Whether a chunk that could be smaller is covered: no exception for one beyond the whole window. */
  covers(bytes: number, ms: number): boolean {
    return this.#windows.every(({ available }) => bytes <= available.bytes && ms <= available.ms);
  }

  spend(bytes: number, ms: number): void {
    for (const credit of this.#windows) credit.spend(1, bytes, ms);
  }

  /** Calls back after every grant, until {@link unlisten}. */
  listen(granted: () => void): void {
    if (this.isUnlimited) return;
    const listener = (): void => {
      this.#isBlocked = false;
      granted();
    };
    this.#unlisten = this.#windows.map((credit) => credit.onGrant(listener));
  }

  unlisten(): void {
    this.#isBlocked = false;
    if (!this.isUnlimited) for (const unlisten of this.#unlisten.splice(0)) unlisten();
  }
}
