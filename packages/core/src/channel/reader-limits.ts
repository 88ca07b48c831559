import type { Credit } from '../credit/credit.ts';
import type { Gate } from './gate.ts';

/**
 * The credit windows and the gates of a reader as one. Every window and every gate has to allow a chunk, and the chunk
 * spends from each window.
 */
export class ReaderLimits {
  readonly #windows: readonly Credit[];
  readonly #gates: readonly Gate[];
  /** Functions that remove the listeners. Empty unless the reader waits. */
  #unlisten: (() => void)[] = [];
  readonly #onBlocked: (() => void) | undefined;
  #isBlocked = false;

  /** `onBlocked` is called by {@link blocked}, once until something is granted. */
  constructor(windows: readonly Credit[], gates: readonly Gate[], onBlocked: (() => void) | undefined) {
    this.#windows = windows;
    this.#gates = gates;
    this.#onBlocked = onBlocked;
  }

  /** Called when the chunk before the offset `to` waits. Tells of it if credit is missing, and not if only a gate is closed. */
  blocked(to: number): void {
    if (this.#isBlocked || this.#windows.length === 0 || !this.#areOpen(to)) return;
    this.#isBlocked = true;
    this.#onBlocked?.();
  }

  /** Whether the reader has no credit windows and no gates. */
  get areNone(): boolean {
    return this.#windows.length === 0 && this.#gates.length === 0;
  }

  /** Whether the gates are open so far that the reader may see the end of its stream. */
  get allowEnd(): boolean {
    return this.#areOpen(Infinity);
  }

  /** The most bytes that all windows can ever allow. */
  get maxBytes(): number {
    return Math.min(...this.#windows.map(({ max }) => max.bytes));
  }

  /** Whether a chunk may be taken. `to` is the offset after its last one. */
  allow(bytes: number, ms: number, to: number): boolean {
    return this.#areOpen(to) && this.#windows.every((credit) => credit.allows(1, bytes, ms));
  }

  /**
   * Whether a chunk that a merge would make may be taken. Unlike `allow`, without an exception for a chunk larger than
   * a whole window.
   */
  cover(bytes: number, ms: number, to: number): boolean {
    return (
      this.#areOpen(to) &&
      this.#windows.every(({ available }) => bytes <= available.bytes && ms <= available.ms)
    );
  }

  spend(bytes: number, ms: number): void {
    for (const credit of this.#windows) credit.spend(1, bytes, ms);
  }

  /** Calls `changed` after every grant and whenever a gate opens, until {@link unlisten}. */
  listen(changed: () => void): void {
    if (this.areNone) return;
    const granted = (): void => {
      this.#isBlocked = false;
      changed();
    };
    this.#unlisten = [
      ...this.#windows.map((credit) => credit.onGrant(granted)),
      ...this.#gates.map((gate) => gate.onOpen(changed)),
    ];
  }

  unlisten(): void {
    this.#isBlocked = false;
    if (!this.areNone) for (const unlisten of this.#unlisten.splice(0)) unlisten();
  }

  #areOpen(to: number): boolean {
    return this.#gates.every(({ openTo }) => to <= openTo);
  }
}
