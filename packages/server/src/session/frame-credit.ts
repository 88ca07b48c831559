import type { Credit, CreditAmount } from '@spillway/core';
import type { SessionLine } from './carrier.ts';

/**
 * A connection's credit, as one stream spends it. A frame larger than the stream's window costs only that window
 * (rule 5.4). Otherwise it would wait until the whole connection is free, which may never be. While readers come back
 * over the connection, no spending is allowed: their unacknowledged chunks are counted first (rule 5.8).
 */
export class FrameCredit implements Credit {
  readonly #line: SessionLine;
  readonly #credit: Credit;
  readonly #windowBytes: number;

  constructor(line: SessionLine, windowBytes: number) {
    this.#line = line;
    this.#credit = line.credit;
    this.#windowBytes = windowBytes;
  }

  get available(): Required<CreditAmount> {
    return this.#credit.available;
  }

  get max(): Required<CreditAmount> {
    return this.#credit.max;
  }

  grant(amount: CreditAmount): void {
    this.#credit.grant(amount);
  }

  allows(items: number, bytes: number, ms?: number): boolean {
    return !this.#line.isResuming && this.#credit.allows(items, Math.min(bytes, this.#windowBytes), ms);
  }

  spend(items: number, bytes: number, ms?: number): boolean {
    return !this.#line.isResuming && this.#credit.spend(items, Math.min(bytes, this.#windowBytes), ms);
  }

  onGrant(listener: () => void): () => void {
    return this.#credit.onGrant(listener);
  }

  close(): void {
    this.#credit.close();
  }
}
