import type { Journal } from './journal.ts';
import type { Meter, StallCause } from './meter.ts';

/** A time in which a stream's provider waits for a reader. */
interface Stall {
  readonly cause: StallCause;
  readonly sinceMs: number;
}

/** The stalls of one stream: when its provider had to wait, and why. */
export class Stalls {
  readonly #meter: Meter;
  readonly #journal: Journal;
  /** The number of stalls so far. */
  count = 0;
  #endedMs = 0;
  #lasting: Stall | undefined;

  constructor(meter: Meter, journal: Journal) {
    this.#meter = meter;
    this.#journal = journal;
  }

  /** Why the provider waits at the moment; `undefined`: it does not wait. */
  get cause(): StallCause | undefined {
    return this.#lasting?.cause;
  }

  /** How long the present stall has lasted; 0 without one. */
  lastingMs(nowMs: number): number {
    return this.#lasting === undefined ? 0 : nowMs - this.#lasting.sinceMs;
  }

  /** How long all stalls together have lasted so far. */
  totalMs(nowMs: number): number {
    return this.#endedMs + this.lastingMs(nowMs);
  }

  /** `reader`: the number of the reader that the provider waits for. */
  begin(nowMs: number, cause: StallCause, reader: number | null): void {
    this.#lasting = { cause, sinceMs: nowMs };
    this.count += 1;
    this.#meter.stalls[cause] += 1;
    this.#journal.paused(reader, cause);
  }

  /** A stall's cause may change while it lasts. Each cause is counted for its own time. */
  goesOn(nowMs: number, cause: StallCause, reader: number | null): void {
    const before = this.#lasting?.cause;
    if (before === undefined || before === 'event_memory' || before === cause) return;
    this.#account(nowMs);
    this.#lasting = { cause, sinceMs: nowMs };
    this.#journal.paused(reader, cause);
  }

  /** Ends the present stall, if there is one. */
  end(nowMs: number): void {
    const cause = this.#account(nowMs);
    if (cause !== undefined) this.#journal.add('resumed', null, cause);
  }

  #account(nowMs: number): StallCause | undefined {
    const cause = this.#lasting?.cause;
    if (cause === undefined) return undefined;
    const ms = this.lastingMs(nowMs);
    this.#lasting = undefined;
    this.#endedMs += ms;
    this.#meter.stallMs[cause] += ms;
    return cause;
  }
}
