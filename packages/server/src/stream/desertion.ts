import type { DetachPolicy } from './detach-policy.ts';
import type { StreamDeadlines } from './stream-body.ts';

type Deadlines = Pick<StreamDeadlines, 'detachGraceMs' | 'finishEvents' | 'finishMs'>;

/** What becomes of a model that nobody reads: it is stopped at once, or when nobody has come back in time. */
export class Desertion {
  readonly #detach: DetachPolicy;
  readonly #deadlines: Deadlines;
  #until: { readonly ms: number; readonly events: number; readonly why: string } | undefined;
  /** When somebody last looked in who is no reader: who polls comes back. */
  #visitedMs = Number.NEGATIVE_INFINITY;

  constructor(detach: DetachPolicy, deadlines: Deadlines) {
    this.#detach = detach;
    this.#deadlines = deadlines;
  }

  /**
   * The last reader has left, when the model has sent so many events. Returns whether the model goes on for a while.
   * `mayReturn`: somebody has said that he may come back.
   */
  begin(nowMs: number, events: number, mayReturn: boolean): boolean {
    const { detachGraceMs, finishEvents, finishMs } = this.#deadlines;
    if (this.#detach === 'finish') {
      const why = `Nobody read on for ${finishMs} ms (finishMs) or ${finishEvents} events (finishEvents).`;
      this.#until = { ms: nowMs + finishMs, events: events + finishEvents, why };
      return true;
    }
    const isPolled = nowMs - this.#visitedMs < detachGraceMs;
    if (this.#detach === 'cancel' || !(isPolled || mayReturn)) return false;
    this.#wait(nowMs);
    return true;
  }

  /** Somebody reads. */
  end(): void {
    this.#until = undefined;
  }

  /** Somebody takes what is there, and may come back for more. */
  visited(nowMs: number): void {
    this.#visitedMs = nowMs;
    if (this.#until !== undefined && this.#detach === 'grace') this.#wait(nowMs);
  }

  /** Why the model is stopped now; `undefined`: it is not. */
  reason(nowMs: number, events: number): string | undefined {
    const until = this.#until;
    return until !== undefined && (nowMs >= until.ms || events >= until.events) ? until.why : undefined;
  }

  #wait(nowMs: number): void {
    const { detachGraceMs } = this.#deadlines;
    const why = `Nobody came back within ${detachGraceMs} ms (detachGraceMs).`;
    this.#until = { ms: nowMs + detachGraceMs, events: Infinity, why };
  }
}
