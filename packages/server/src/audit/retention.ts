import type { ServerClock } from '../time/server-clock.ts';
import type { AuditWriter } from './audit-writer.ts';
import { prune, type PruneLimits } from './prune.ts';

/** What a log removes by itself. Both are whole numbers above 0. */
export type RetentionOptions = PruneLimits;

/** How often it is looked for what can go. */
const everyMs = 10_000;
const minRecords = 1000;

/** Prunes a log while it is written: a little each time, and always more than has been written since. */
export class Retention {
  readonly #writer: AuditWriter;
  readonly #limits: RetentionOptions;
  readonly #clock: ServerClock;
  #lastMs = -Infinity;
  #written = 0;

  constructor(writer: AuditWriter, limits: RetentionOptions, clock: ServerClock) {
    this.#writer = writer;
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Called after each write, with the number of its records. */
  run(written: number): void {
    this.#written += written;
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#lastMs < everyMs) return;
    this.#lastMs = nowMs;
    const maxRecords = Math.max(minRecords, 2 * this.#written);
    try {
      prune(this.#writer, this.#limits, this.#clock.dateMs(), maxRecords);
      this.#written = 0;
    } catch {
      // The writer opens the log anew. What could not be removed is removed next time.
    }
  }
}
