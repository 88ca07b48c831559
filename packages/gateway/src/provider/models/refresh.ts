import type { Clock, Timer } from '@spillway/core/clock';
import { asGatewayError, type GatewayError } from '@spillway/server/errors';

/** How long to wait for other lists once there is a first one. */
const patienceMs = 1000;

/** A request for a provider's list. All callers that want this list share it. */
export interface Refresh {
  readonly startedMs: number;
  /** Resolves when the request has ended, also when it failed. */
  readonly done: Promise<void>;
  readonly abort: (reason: Error) => void;
  /** Why the request brought no list, once it has ended. */
  error: GatewayError | undefined;
  /** The number of callers that wait for it. */
  waiting: number;
}

export function startRefresh(clock: Clock, work: (aborting: AbortController) => Promise<void>): Refresh {
  const aborting = new AbortController();
  const refresh: Refresh = {
    startedMs: clock.nowMs(),
    done: work(aborting).catch((error: unknown) => {
      refresh.error = asGatewayError(error);
    }),
    abort: (reason: Error) => aborting.abort(reason),
    error: undefined,
    waiting: 0,
  };
  return refresh;
}

/**
 * Waits until all requests have ended, or for `patienceMs` after the first list. With `isListThere` there is
 * one at once: then requests that run for `patienceMs` already are not waited for.
 *
 * @throws the signal's reason as soon as it is aborted.
 */
export async function waitForEnough(
  clock: Clock,
  refreshes: readonly Refresh[],
  isListThere: boolean,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const lateMs = clock.nowMs() - patienceMs;
  const awaited = isListThere ? refreshes.filter(({ startedMs }) => startedMs > lateMs) : refreshes;
  if (awaited.length === 0) return;
  const { promise, reject, resolve } = Promise.withResolvers<void>();
  let timer: Timer | undefined;
  let isOver = false;
  const startPatience = (): void => {
    if (!isOver) timer ??= clock.after(patienceMs, resolve);
  };
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  const whenListed = async (refresh: Refresh): Promise<void> => {
    await refresh.done;
    if (refresh.error === undefined) startPatience();
  };
  for (const refresh of awaited) void whenListed(refresh);
  void Promise.all(awaited.map(({ done }) => done)).then(() => resolve());
  if (isListThere) startPatience();
  try {
    await promise;
  } finally {
    isOver = true;
    timer?.stop();
    signal.removeEventListener('abort', onAbort);
  }
}
