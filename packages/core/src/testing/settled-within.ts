import { systemClock } from '../clock.ts';

/**
 * Resolves or rejects as the promise does. Rejects with an error of `late` if it takes longer than the deadline, which is
 * handed over in words.
 */
export function settledWithin<Value>(
  deadlineMs: number,
  promise: Promise<Value>,
  late: (wait: string) => Error,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = systemClock.after(deadlineMs, () => reject(late(`${deadlineMs} ms`)));
    promise.then(resolve, reject).finally(() => timer.stop());
  });
}
