import { asGatewayError, type GatewayError } from '@spillway/server/errors';

/** Once a list is there, others are waited for so long. */
const patienceMs = 1000;

/** A request for a provider's list, shared by all who wait for it. */
export interface Refresh {
  readonly startedMs: number;
  /** Resolves when it is over, in whatever way. */
  readonly done: Promise<void>;
  readonly abort: (reason: Error) => void;
  /** Why there is no list, once it is over. */
  error: GatewayError | undefined;
  /** How many wait for it. */
  waiting: number;
}

export function startRefresh(work: (aborting: AbortController) => Promise<void>): Refresh {
  const aborting = new AbortController();
  const refresh: Refresh = {
    startedMs: performance.now(),
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
 * Waits until all are over, or for `patienceMs` after there is a list. Where there is one at once, those that are silent for
 * so long already are not waited for.
 *
 * @throws the signal's reason as soon as it is aborted.
 */
export async function waitForEnough(
  refreshes: readonly Refresh[],
  isListThere: boolean,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const lateMs = performance.now() - patienceMs;
  const awaited = isListThere ? refreshes.filter(({ startedMs }) => startedMs > lateMs) : refreshes;
  if (awaited.length === 0) return;
  const { promise, reject, resolve } = Promise.withResolvers<void>();
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;
  const startPatience = (): void => {
    if (!isOver) timer ??= setTimeout(resolve, patienceMs);
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
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
