import { type ErrorCode, SpillwayError } from '../errors.ts';
import type { CreditAmount, CreditOptions } from './credit-options.ts';
import { checkAmount, type Unit, units, windowOf } from './window.ts';

/**
 * The credit that a receiver granted, less the amount that was sent. 0 ≤ available ≤ max always.
 *
 * The rules are those of Reactive Streams (https://github.com/reactive-streams/reactive-streams-jvm), as far as they
 * apply; the tests carry their numbers. Unlike there, a chunk that is larger than the whole window may be sent when all
 * of the window is available, or it could never be sent.
 *
 * Sums of fractions are rounded, and not in the same way on both sides. So credit within a millionth of the maximum,
 * and within half a unit, counts as the maximum. Whole numbers are exact.
 */
export interface Credit {
  /** The credit left; `Infinity` for a unit that does not count. */
  readonly available: Required<CreditAmount>;
  /** The most credit that there may be; `Infinity` for a unit that does not count. */
  readonly max: Required<CreditAmount>;
  /**
   * Adds credit. Does nothing after `close`.
   *
   * @throws {SpillwayError} `bad_grant` when an amount is negative, fractional (items), not a finite number, for a unit
   *   that does not count, or would exceed the maximum; then nothing is added.
   */
  grant(amount: CreditAmount): void;
  /**
   * Whether the amount may be sent now.
   *
   * @throws {SpillwayError} `invalid_option` when an amount is negative, fractional (items) or not a finite number.
   */
  allows(items: number, bytes: number, ms?: number): boolean;
  /**
   * Spends credit for an amount that is sent. Returns whether the credit allowed it; if not, nothing was spent. Throws
   * the same errors as `allows`.
   */
  spend(items: number, bytes: number, ms?: number): boolean;
  /** Calls back after every grant. Returns a function that removes the listener. */
  onGrant(listener: () => void): () => void;
  /**
   * Ends the credit, as when a connection is lost: no credit is left, grants do nothing, and the listeners are removed.
   */
  close(): void;
}

/**
 * Opens a window of credit, for the side that sends.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const credit = openCredit({ maxItems: 100, maxBytes: 65_536 });
 * const reader = channel.reader({ credit: [credit, connectionCredit] }); // both have to allow a chunk
 * socket.on('grant', (amount) => credit.grant(amount));
 * ```
 */
export function openCredit(options: CreditOptions): Credit {
  return new CreditWindow(options);
}

class CreditWindow implements Credit {
  readonly #max: Required<CreditAmount>;
  readonly #available: Record<Unit, number>;
  readonly #listeners = new Set<() => void>();
  #isClosed = false;

  constructor(options: CreditOptions) {
    const { bytes, items, ms } = (this.#max = windowOf(options));
    const start = (max: number): number => (max === Infinity ? Infinity : 0);
    this.#available = { items: start(items), bytes: start(bytes), ms: start(ms) };
    this.#add(options.initial ?? {}, 'invalid_option');
  }

  get available(): Required<CreditAmount> {
    return { ...this.#available };
  }

  get max(): Required<CreditAmount> {
    return { ...this.#max };
  }

  grant(amount: CreditAmount): void {
    if (this.#isClosed) return;
    this.#add(amount, 'bad_grant');
    for (const listener of this.#listeners) listener();
  }

  allows(items: number, bytes: number, ms = 0): boolean {
    return this.#covers('items', items) && this.#covers('bytes', bytes) && this.#covers('ms', ms);
  }

  spend(items: number, bytes: number, ms = 0): boolean {
    if (!this.allows(items, bytes, ms)) return false;
    this.#available.items = Math.max(0, this.#available.items - items);
    this.#available.bytes = Math.max(0, this.#available.bytes - bytes);
    this.#available.ms = Math.max(0, this.#available.ms - ms);
    return true;
  }

  onGrant(listener: () => void): () => void {
    if (!this.#isClosed) this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    this.#isClosed = true;
    this.#listeners.clear();
    for (const unit of units) this.#available[unit] = 0;
  }

  #covers(unit: Unit, amount: number): boolean {
    checkAmount(unit, amount, 'invalid_option');
    const available = this.#available[unit];
    const max = this.#max[unit];
    return amount <= available || available >= max - roundingOf(max);
  }

  /** Checks all units before anything is added. */
  #add(amount: CreditAmount, code: ErrorCode): void {
    for (const unit of units) this.#check(unit, amount[unit] ?? 0, code);
    for (const unit of units) {
      this.#available[unit] = Math.min(this.#available[unit] + (amount[unit] ?? 0), this.#max[unit]);
    }
  }

  #check(unit: Unit, amount: number, code: ErrorCode): void {
    checkAmount(unit, amount, code);
    const max = this.#max[unit];
    const available = this.#available[unit];
    if (max === Infinity && amount > 0) {
      throw new SpillwayError(code, `${unit}: this window does not count them, got ${amount}.`);
    }
    if (available + amount > max + roundingOf(max)) {
      throw new SpillwayError(
        code,
        `${unit}: at most ${max} may be outstanding, ${available} are and ${amount} more came.`,
      );
    }
  }
}

/** The largest difference between two sums of the same fractions. */
function roundingOf(max: number): number {
  return Math.min(0.5, max * 1e-6);
}
