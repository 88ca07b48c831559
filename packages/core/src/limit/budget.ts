import { calendarBounds } from './calendar.ts';
import type { BudgetWindow, QuotaState } from './limit-store.ts';

/** What is spent and reserved of one budget in its present window. */
export class Budget {
  spent: number;
  reserved = 0;
  #startMs: number;
  #endMs: number;

  constructor(spent: number, startMs: number, endMs: number) {
    this.spent = spent;
    this.#startMs = startMs;
    this.#endMs = endMs;
  }

  static begin(window: BudgetWindow, dateMs: number): Budget {
    return new Budget(0, ...boundsOf(window, dateMs));
  }

  get startMs(): number {
    return this.#startMs;
  }

  get endMs(): number {
    return this.#endMs;
  }

  /**
   * Whether the window is over. A date that went back by less than a window stays in it, so that a clock which is put right
   * around midnight does not begin a day twice.
   */
  isOver(dateMs: number): boolean {
    return dateMs >= this.#endMs || dateMs < this.#startMs - (this.#endMs - this.#startMs);
  }

  /** Begins the present window, if another one was the last. What is reserved stays: it is spent in the new one. */
  turn(window: BudgetWindow, dateMs: number): void {
    if (!this.isOver(dateMs)) return;
    this.spent = 0;
    [this.#startMs, this.#endMs] = boundsOf(window, dateMs);
  }

  /** Something was reserved or spent. */
  touch(window: BudgetWindow, dateMs: number): void {
    if (typeof window === 'object') [this.#startMs, this.#endMs] = boundsOf(window, dateMs);
  }

  stateAt(dateMs: number): QuotaState {
    const used = this.isOver(dateMs) ? 0 : this.spent;
    const isUnused = used === 0 && this.reserved === 0;
    return { used, reserved: this.reserved, resetMs: isUnused ? 0 : Math.max(0, this.#endMs - dateMs) };
  }
}

function boundsOf(window: BudgetWindow, dateMs: number): [startMs: number, endMs: number] {
  return typeof window === 'object' ? [dateMs, dateMs + window.idleMs] : calendarBounds(window, dateMs);
}
