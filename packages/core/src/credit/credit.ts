import { SpillwayError } from '../errors.ts';

/** An amount of credit, or of what it is spent on. A unit that is left out is 0. */
export interface CreditAmount {
  /** Chunks: a whole number, 0 or more. */
  readonly items?: number;
  /** As the channel's `weigh` counts them: 0 or more. */
  readonly bytes?: number;
  /** Milliseconds of audio: 0 or more. */
  readonly ms?: number;
}

/** The units of a window that count, each with the most that may be outstanding. At least one. */
export interface CreditOptions {
  /** Minimum 1. Default: chunks are not counted. */
  readonly maxItems?: number;
  /** Minimum 1. Default: bytes are not counted. */
  readonly maxBytes?: number;
  /** Minimum 1. Default: milliseconds are not counted. */
  readonly maxMs?: number;
  /** What may be spent before the first grant. Default: nothing. */
  readonly initial?: CreditAmount;
}

/**
 * How much may be sent to somebody: what they granted less what was sent. It is never below 0 and never
 * above its maximum.
 *
 * The rules are those of Reactive Streams (https://github.com/reactive-streams/reactive-streams-jvm) as
 * far as they make sense here; the tests carry their numbers. Unlike there, a chunk that is larger than
 * the whole window may be sent when the window is full, or it could never be sent.
 */
export interface Credit {
  /** What is left; `Infinity` for a unit that does not count. */
  readonly available: Required<CreditAmount>;
  /** The most that may be left; `Infinity` for a unit that does not count. */
  readonly max: Required<CreditAmount>;
  /**
   * Adds to what may be sent. After `close` it does nothing.
   *
   * @throws {SpillwayError} `bad_grant` when an amount is negative, fractional (items), not a number, for a
   *   unit that does not count, or more than the maximum leaves room for; nothing is added then.
   */
  grant(amount: CreditAmount): void;
  /** Whether so much may be sent now. */
  allows(items: number, bytes: number, ms?: number): boolean;
  /** Takes what is sent. Returns whether it might be; if not, nothing was taken. */
  spend(items: number, bytes: number, ms?: number): boolean;
  /** Calls back after every grant. Returns the function that stops it. */
  onGrant(listener: () => void): () => void;
  /** Makes it void, as a lost connection does: nothing is left, grants do nothing, listeners are let go. */
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

const units = ['items', 'bytes', 'ms'] as const;
type Unit = (typeof units)[number];

class CreditWindow implements Credit {
  readonly #max: Readonly<Record<Unit, number | undefined>>;
  readonly #available: Record<Unit, number>;
  readonly #listeners = new Set<() => void>();
  #isClosed = false;

  constructor({ initial = {}, maxBytes, maxItems, maxMs }: CreditOptions) {
    this.#max = { items: maxItems, bytes: maxBytes, ms: maxMs };
    if (units.every((unit) => this.#max[unit] === undefined)) {
      throw new SpillwayError(
        'invalid_option',
        'Credit needs a unit: expected maxItems, maxBytes, maxMs or several, got none.',
      );
    }
    for (const unit of units) {
      const max = this.#max[unit];
      if (max !== undefined && !(max >= 1)) {
        throw new SpillwayError('invalid_option', `The maximum of ${unit}: expected 1 or more, got ${max}.`);
      }
    }
    this.#available = { items: this.#start('items'), bytes: this.#start('bytes'), ms: this.#start('ms') };
    this.grant(initial);
  }

  get available(): Required<CreditAmount> {
    return { ...this.#available };
  }

  get max(): Required<CreditAmount> {
    const { bytes = Infinity, items = Infinity, ms = Infinity } = this.#max;
    return { bytes, items, ms };
  }

  grant(amount: CreditAmount): void {
    if (this.#isClosed) return;
    // All is checked before anything is added.
    for (const unit of units) this.#check(unit, amount[unit]);
    for (const unit of units) {
      if (this.#max[unit] !== undefined) this.#available[unit] += amount[unit] ?? 0;
    }
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

  #start(unit: Unit): number {
    return this.#max[unit] === undefined ? Number.POSITIVE_INFINITY : 0;
  }

  #covers(unit: Unit, amount: number): boolean {
    const available = this.#available[unit];
    return amount <= available || (available > 0 && available === this.#max[unit]);
  }

  #check(unit: Unit, amount: number | undefined): void {
    if (amount === undefined) return;
    const max = this.#max[unit];
    if (!(amount >= 0 && (unit !== 'items' || Number.isInteger(amount)))) {
      throw new SpillwayError(
        'bad_grant',
        `${unit}: expected ${unit === 'items' ? 'a whole number' : 'a number'}, 0 or more, got ${amount}.`,
      );
    }
    if (max === undefined && amount > 0) {
      throw new SpillwayError('bad_grant', `${unit}: this window does not count them, got ${amount}.`);
    }
    if (max !== undefined && this.#available[unit] + amount > max) {
      throw new SpillwayError(
        'bad_grant',
        `${unit}: at most ${max} may be outstanding, ${this.#available[unit]} are and ${amount} more came.`,
      );
    }
  }
}
