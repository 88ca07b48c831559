/**
 * Settles as the promise does, or rejects with the signal's reason as soon as it is aborted. A signal that is aborted already
 * wins over a promise that is settled already. What the promise does later is not looked at, and no unhandled rejection.
 *
 * @example
 *   const answer = await orAborted(engine.ask(), AbortSignal.timeout(5000));
 */
export async function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([aborted.promise, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
