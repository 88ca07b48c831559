import { systemClock } from '../clock.ts';

/** How old what an engine has said of itself may be when it is written to. */
const maxAgeMs = 5000;

/**
 * How old the answer of an engine is to what it is worth: whoever runs it may make it less while a connection stays. A sink asks
 * again in a write that begins when the answer is older than 5 s, before it writes.
 *
 * @example
 *   readonly #gradeAge = new GradeAge();
 *
 *   async #write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
 *     if (this.#gradeAge.isOld) this.#facts = await this.#gradeAge.ask(() => this.#askFacts(signal));
 *     await this.#send(records, signal);
 *   }
 */
export class GradeAge {
  #askedMs = -Infinity;

  /** Whether it has to be asked again before the next write. */
  get isOld(): boolean {
    return systemClock.nowMs() - this.#askedMs > maxAgeMs;
  }

  /** Asks. Rejects as the question does; the answer before it is then as old as it was. */
  async ask<Answer>(question: () => Promise<Answer>): Promise<Answer> {
    const startMs = systemClock.nowMs();
    const answer = await question();
    this.#askedMs = startMs;
    return answer;
  }
}
