import type { DetachPolicy } from './detach-policy.ts';
import type { StreamDeadlines } from './stream-body.ts';

type Deadlines = Pick<StreamDeadlines, 'detachGraceMs' | 'finishEvents' | 'finishMs'>;

/**
 * Decides what becomes of a model that nobody reads. The model is stopped at once, or when no reader came back in
 * time.
 */
export class Desertion {
  readonly #stream: { readonly detach: DetachPolicy };
  readonly #deadlines: Deadlines;
  #until: { readonly ms: number; readonly events: number; readonly why: string } | undefined;
  /** When a request for one answer (catch-up or long-poll) last came: a client that polls comes back. */
  #visitedMs = Number.NEGATIVE_INFINITY;

  constructor(stream: { readonly detach: DetachPolicy }, deadlines: Deadlines) {
    this.#stream = stream;
    this.#deadlines = deadlines;
  }

  /**
   * The last reader has left; the model has sent `events` so far. Returns whether the model goes on for a while.
   * `mayReturn`: a reader has said that it may come back.
   */
  begin(nowMs: number, events: number, mayReturn: boolean): boolean {
    const { detachGraceMs, finishEvents, finishMs } = this.#deadlines;
    const { detach } = this.#stream;
    if (detach === 'finish') {
      const why = `Nobody read on for ${finishMs} ms (finishMs) or ${finishEvents} events (finishEvents).`;
      this.#until = { ms: nowMs + finishMs, events: events + finishEvents, why };
      return true;
    }
    const isPolled = nowMs - this.#visitedMs < detachGraceMs;
    if (detach === 'cancel' || !(isPolled || mayReturn)) return false;
    this.#wait(nowMs);
    return true;
  }

  /** A reader has come, so the model goes on. */
  end(): void {
    this.#until = undefined;
  }

  /** A request takes the chunks that are there. Its client may come back for more. */
  visited(nowMs: number): void {
    this.#visitedMs = nowMs;
    if (this.#until !== undefined && this.#stream.detach === 'grace') this.#wait(nowMs);
  }

  /** Why the model has to stop now; `undefined`: it goes on. */
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
