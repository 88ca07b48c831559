import type { QuotaState, RateQuota } from './limit-store.ts';

/** What floating-point numbers may lose in a fill that was waited for exactly. */
const lossOfFloats = 1e-6;

/**
 * A bucket of requests. 0 ≤ what is gone of it ≤ the burst of whoever asks. It keeps what is gone, not what it holds: where
 * the burst becomes another, what was used stays what it is.
 */
export class TokenBucket {
  #gone = 0;
  #atMs: number;
  #fullMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
    this.#fullMs = nowMs;
  }

  /** When nothing is gone of it any more. */
  get fullMs(): number {
    return this.#fullMs;
  }

  /** In how many milliseconds there is one; 0: now. */
  waitMs(quota: RateQuota, nowMs: number): number {
    const missing = this.#goneAt(quota, nowMs) + 1 - quota.burst;
    return missing <= lossOfFloats ? 0 : Math.ceil((missing / quota.perSecond) * 1000);
  }

  take(quota: RateQuota, nowMs: number): void {
    this.#gone = Math.min(quota.burst, this.#goneAt(quota, nowMs) + 1);
    this.#atMs = nowMs;
    this.#fullMs = nowMs + (this.#gone / quota.perSecond) * 1000;
  }

  stateAt(quota: RateQuota, nowMs: number): QuotaState {
    const gone = this.#goneAt(quota, nowMs);
    const used = Math.ceil(gone - lossOfFloats);
    return { used, reserved: 0, resetMs: used === 0 ? 0 : Math.ceil((gone / quota.perSecond) * 1000) };
  }

  #goneAt({ burst, perSecond }: RateQuota, nowMs: number): number {
    return Math.min(burst, Math.max(0, this.#gone - ((nowMs - this.#atMs) / 1000) * perSecond));
  }
}
