import type { Credit } from '../credit/credit.ts';

/** All credit windows of a reader as one: every window has to allow a chunk, and the chunk spends from each. */
export class ReaderCredit {
  readonly #windows: readonly Credit[];
  /** Functions that remove the grant listeners. Empty unless the reader waits. */
  #unlisten: (() => void)[] = [];

  readonly #onBlocked: (() => void) | undefined;
  #isBlocked = false;

  /** `onBlocked` is called by {@link blocked}, once until something is granted. */
  constructor(windows: readonly Credit[], onBlocked: (() => void) | undefined) {
    this.#windows = windows;
    this.#onBlocked = onBlocked;
  }

  /** Called when a chunk waits that credit does not allow. */
  blocked(): void {
    if (this.#isBlocked || this.isUnlimited) return;
    this.#isBlocked = true;
    this.#onBlocked?.();
  }

  /** Whether the reader has no credit windows. */
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

  /**
   * Whether credit covers a chunk that a merge would make. Unlike `allows`, without an exception for a chunk larger
   * than the whole window.
   */
  covers(bytes: number, ms: number): boolean {
    return this.#windows.every(({ available }) => bytes <= available.bytes && ms <= available.ms);
  }

  spend(bytes: number, ms: number): void {
    for (const credit of this.#windows) credit.spend(1, bytes, ms);
  }

  /** Calls `granted` after every grant, until {@link unlisten}. */
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
