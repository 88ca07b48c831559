import type { Histogram, Meter as Instruments } from '@opentelemetry/api';
import type { Accounts } from '../limit/accounts.ts';

/** Bounds of what a call takes, in seconds: on one machine a fraction of a millisecond, and half a second is its deadline. */
const callBuckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];

/** The figures of a store of limits that is elsewhere. Without one there are none. */
export class LimitStoreMetrics {
  readonly #durations: Histogram;

  constructor(instruments: Instruments, limits: () => Pick<Accounts, 'isStoreUp'> | undefined) {
    this.#durations = instruments.createHistogram('spillway.limit.store.duration', {
      unit: 's',
      description: 'How long calls of the store of limits took, by whether they were answered (failed)',
      advice: { explicitBucketBoundaries: callBuckets },
    });
    const up = instruments.createObservableGauge('spillway.limit.store.up', {
      description: 'Whether the store of limits works (1) or fails (0), as far as is known',
    });
    up.addCallback((result) => {
      const isUp = limits()?.isStoreUp;
      if (isUp !== undefined) result.observe(isUp ? 1 : 0);
    });
  }

  /** Notes a call. */
  called(ms: number, hasFailed: boolean): void {
    this.#durations.record(ms / 1000, { failed: hasFailed });
  }
}
