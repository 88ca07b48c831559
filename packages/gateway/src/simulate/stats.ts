/** What became of one request. Times are milliseconds since 1970, with fractions. */
export interface RequestStats {
  readonly id: number;
  readonly model: string;
  /** `left`: the reader went before the end. `cut`: the simulator ended it, as it was asked to. `refused`: for want of capacity. */
  state: 'cut' | 'finished' | 'left' | 'refused' | 'running' | 'stalled';
  readonly startedMs: number;
  endedMs: number | undefined;
  tokens: number;
  bytes: number;
  /** Bytes that were written and that the reader's connection has not taken. */
  pendingBytes: number;
}

/** So many requests are remembered; the oldest that ended goes first. */
const maxRequests = 5000;

/** Remembers what the simulator did, for `/stats`. */
export class Stats {
  readonly #requests = new Map<number, { stats: RequestStats; refresh: () => void }>();
  #total = 0;

  open(model: string, refresh: (stats: RequestStats) => void): RequestStats {
    this.#total += 1;
    const stats: RequestStats = {
      id: this.#total,
      model: model.slice(0, 200),
      state: 'running',
      startedMs: nowMs(),
      endedMs: undefined,
      tokens: 0,
      bytes: 0,
      pendingBytes: 0,
    };
    this.#requests.set(stats.id, { stats, refresh: () => refresh(stats) });
    if (this.#requests.size > maxRequests) this.#forgetOldest();
    return stats;
  }

  end(stats: RequestStats, state: 'cut' | 'finished' | 'left' | 'refused'): void {
    if (stats.endedMs !== undefined) return;
    stats.state = state;
    stats.endedMs = nowMs();
  }

  report(): { readonly total: number; readonly requests: readonly RequestStats[] } {
    const requests = [...this.#requests.values()].map(({ stats, refresh }) => {
      refresh();
      return stats;
    });
    return { total: this.#total, requests };
  }

  #forgetOldest(): void {
    for (const [id, { stats }] of this.#requests) {
      if (stats.endedMs === undefined) continue;
      this.#requests.delete(id);
      return;
    }
  }
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
