/** How many sessions that are gone are remembered, at most, and for how long: a client gives up before. */
const maxGone = 10_000;
const maxGoneMs = 600_000;

/** A session as what carries requests. */
export interface RequestCarrier {
  /** Nobody can guess it: with it, a client says over which session it sent a request. */
  readonly id: string;
  /** The greatest number of a request that was handed to a provider's relay; 0: none was. */
  readonly lastRequest: number;
  /** Handles nothing more of what comes over it: its client says that it is lost. */
  abandon(): void;
}

interface Gone {
  readonly lastRequest: number;
  readonly atMs: number;
}

/**
 * Knows which requests did not arrive and never will. Numbers on a session only grow and its frames are handled in their
 * order, so one number for each session says it of all its requests, exactly. Of sessions that are forgotten, or were another
 * process's, nothing is known.
 */
export class Arrivals {
  readonly #open = new Map<string, RequestCarrier>();
  /** The one that is gone for longest is in front. */
  readonly #gone = new Map<string, Gone>();

  opened(session: RequestCarrier): void {
    this.#open.set(session.id, session);
  }

  closed({ id, lastRequest }: RequestCarrier, nowMs: number): void {
    this.#open.delete(id);
    this.#gone.set(id, { lastRequest, atMs: nowMs });
    this.#forget(nowMs);
  }

  /**
   * Whether the request with that number was not handled, and never will be: what it may have been lost on is abandoned, or
   * it could still come. `asking` is the session that wants to know.
   */
  isMissing(id: string, number: number, asking: RequestCarrier, nowMs: number): boolean {
    if (id === asking.id) return false;
    this.#forget(nowMs);
    const open = this.#open.get(id);
    open?.abandon();
    const known = open ?? this.#gone.get(id);
    return known !== undefined && number > known.lastRequest;
  }

  #forget(nowMs: number): void {
    for (const [id, { atMs }] of this.#gone) {
      if (this.#gone.size <= maxGone && nowMs - atMs < maxGoneMs) return;
      this.#gone.delete(id);
    }
  }
}
