/** At most so many closed sessions are remembered, and for at most so long. A client gives up earlier than that. */
const maxGone = 10_000;
const maxGoneMs = 600_000;

/** A session, as far as it carries requests. */
export interface RequestCarrier {
  /** A secret id. With it, a client says over which session it sent a request. */
  readonly id: string;
  /** The greatest number of a request that was handed to a provider's relay; 0: none so far. */
  readonly lastRequest: number;
  /** Handles no more frames of the session: the client says that its connection is lost. */
  closeAsLost(): void;
}

interface Gone {
  readonly lastRequest: number;
  readonly atMs: number;
}

/**
 * Knows which requests did not arrive and never will. Numbers in a session only grow, and frames are handled in
 * order. So one number for each session answers this for all its requests, exactly. Nothing is known of sessions that
 * are forgotten, or that were another process's.
 */
export class Arrivals {
  readonly #open = new Map<string, RequestCarrier>();
  /** In the order of their closing, the oldest first. */
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
   * Whether the request of session `id` with that number was not handled, and never will be. Abandons that session if
   * it is still open: otherwise the request could still come. `asking`: the session that wants to know.
   */
  isMissing(id: string, number: number, asking: RequestCarrier, nowMs: number): boolean {
    if (id === asking.id) return false;
    this.#forget(nowMs);
    const open = this.#open.get(id);
    open?.closeAsLost();
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
