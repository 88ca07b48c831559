import type { QuotaState, RateQuota } from './limit-store.ts';

/** What floating-point numbers may lose in a fill that was waited for exactly. */
const lossOfFloats = 1e-6;

/** A bucket of requests. 0 ≤ what it holds ≤ the burst of whoever asked last. */
export class TokenBucket {
  #held: number;
  #atMs: number;
  #fullMs: number;

  constructor(burst: number, nowMs: number) {
    this.#held = burst;
    this.#atMs = nowMs;
    this.#fullMs = nowMs;
  }

  /** When nothing is gone of it any more. */
  get fullMs(): number {
    return this.#fullMs;
  }

  /** In how many milliseconds there is one; 0: now. */
  waitMs(quota: RateQuota, nowMs: number): number {
    const missing = 1 - this.#heldAt(quota, nowMs);
    return missing <= lossOfFloats ? 0 : Math.ceil((missing / quota.perSecond) * 1000);
  }

  take(quota: RateQuota, nowMs: number): void {
    this.#held = Math.max(0, this.#heldAt(quota, nowMs) - 1);
    this.#atMs = nowMs;
    this.#fullMs = nowMs + ((quota.burst - this.#held) / quota.perSecond) * 1000;
  }

  stateAt(quota: RateQuota, nowMs: number): QuotaState {
    const gone = quota.burst - this.#heldAt(quota, nowMs);
    const used = Math.ceil(gone - lossOfFloats);
    return { used, reserved: 0, resetMs: used === 0 ? 0 : Math.ceil((gone / quota.perSecond) * 1000) };
  }

  #heldAt({ burst, perSecond }: RateQuota, nowMs: number): number {
    return Math.min(burst, this.#held + ((nowMs - this.#atMs) / 1000) * perSecond);
  }
}
