import { type LimitStore, SpillwayError } from '@spillway/core';
import { createMemoryLimitStore } from '@spillway/core/limit/memory-limit-store';
import type { ServerClock } from '@spillway/server/time/server-clock';

type Call = 'extend' | 'open' | 'read' | 'renew' | 'settle';

/** A store of limits in memory, which a test may have fail or wait, and which counts its calls. */
export interface FailingLimitStore {
  readonly store: LimitStore;
  readonly calls: Record<Call, number>;
  /** Whether calls fail. */
  isAway: boolean;
  /** Why calls fail. */
  error: SpillwayError;
  /** While it is set, calls wait for it. */
  hold: Promise<void> | undefined;
  /** It loses all that it knows. */
  readonly forget: () => void;
}

export function openFailingLimitStore(clock: ServerClock): FailingLimitStore {
  let inner: LimitStore = createMemoryLimitStore({ clock });
  const calls: Record<Call, number> = { extend: 0, open: 0, read: 0, renew: 0, settle: 0 };
  const failing: FailingLimitStore = {
    store: inner,
    calls,
    isAway: false,
    error: new SpillwayError('limits_failed', 'The engine is away.'),
    hold: undefined,
    forget: () => (inner = createMemoryLimitStore({ clock })),
  };
  const through = async <T>(call: Call, ask: () => Promise<T>): Promise<T> => {
    calls[call] += 1;
    await failing.hold;
    if (failing.isAway) throw failing.error;
    return await ask();
  };
  const store: LimitStore = {
    open: (request, signal) => through('open', () => inner.open(request, signal)),
    extend: (lease, leaseMs, claims, signal) =>
      through('extend', () => inner.extend(lease, leaseMs, claims, signal)),
    settle: (lease, claims, signal) => through('settle', () => inner.settle(lease, claims, signal)),
    renew: (leases, leaseMs, signal) => through('renew', () => inner.renew(leases, leaseMs, signal)),
    read: (quotas, signal) => through('read', () => inner.read(quotas, signal)),
    close: () => inner.close(),
  };
  return Object.assign(failing, { store });
}
