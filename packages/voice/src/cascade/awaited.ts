import type { Clock } from '@spillway/core/clock';

/** What comes of an iteration, one by one, with a bound on each wait. */
export class Awaited<Event> {
  readonly #events: AsyncIterator<Event>;
  readonly #clock: Pick<Clock, 'after'>;
  /** What was asked for and did not come in time. */
  #pending: Promise<IteratorResult<Event>> | undefined;

  constructor(events: AsyncIterable<Event>, clock: Pick<Clock, 'after'>) {
    this.#events = events[Symbol.asyncIterator]();
    this.#clock = clock;
  }

  /** The next one; `undefined`: there is none. `late`: it did not come within `ms`, and the next call waits for the same one. */
  async next(ms?: number): Promise<Event | 'late' | undefined> {
    const next = (this.#pending ??= this.#events.next());
    const result = await this.#within(next, ms);
    if (result === 'late') return result;
    this.#pending = undefined;
    return result.done === true ? undefined : result.value;
  }

  /** Nobody waits for more. What the iteration does about that is not looked at. */
  close(): void {
    this.#pending?.catch(() => undefined);
    // In its own time: what is under way may not be over.
    this.#events.return?.().catch(() => undefined);
  }

  async #within<Result>(next: Promise<Result>, ms: number | undefined): Promise<Result | 'late'> {
    if (ms === undefined) return next;
    const late = Promise.withResolvers<'late'>();
    const timer = this.#clock.after(ms, () => late.resolve('late'));
    try {
      return await Promise.race([next, late.promise]);
    } finally {
      timer.stop();
    }
  }
}
