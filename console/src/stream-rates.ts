import type { Overview, StreamRow } from '../../packages/server/src/console/snapshot.ts';

/** Tokens a second of one stream: from its provider, and to all of its readers. */
export interface StreamRate {
  readonly inPerSecond: number;
  readonly outPerSecond: number;
}

interface Seen {
  readonly ageMs: number;
  readonly tokensIn: number;
  readonly tokensOut: number;
}

/** Turns counters into rates, snapshot by snapshot. However many snapshots a page missed, they stay right. */
export class StreamRates {
  #seen = new Map<string, Seen>();
  #rates: ReadonlyMap<string, StreamRate> = new Map();
  #atMs = 0;

  update({ streams, totals }: Overview): ReadonlyMap<string, StreamRate> {
    if (totals.atMs === this.#atMs) return this.#rates;
    const seen = new Map<string, Seen>();
    const rates = new Map<string, StreamRate>();
    for (const stream of streams) {
      const now = see(stream);
      seen.set(stream.id, now);
      const before = this.#seen.get(stream.id);
      // One that was not there before: its whole life is the interval.
      const seconds = (now.ageMs - (before?.ageMs ?? 0)) / 1000;
      if (seconds <= 0) continue;
      rates.set(stream.id, {
        inPerSecond: Math.max(0, now.tokensIn - (before?.tokensIn ?? 0)) / seconds,
        outPerSecond: Math.max(0, now.tokensOut - (before?.tokensOut ?? 0)) / seconds,
      });
    }
    this.#seen = seen;
    this.#atMs = totals.atMs;
    this.#rates = rates;
    return rates;
  }
}

function see({ ageMs, readers, tokens }: StreamRow): Seen {
  let tokensOut = 0;
  for (const reader of readers) tokensOut += reader.tokens;
  return { ageMs, tokensIn: tokens, tokensOut };
}
