import type { LimitStore } from '@spillway/core';
import { createMemoryLimitStore } from '@spillway/core/limit/memory-limit-store';
import type { LimitSettings } from '../config/limits.ts';
import { Limiter, type LimiterOptions } from './limiter.ts';

/** The limiter of a gateway, whose settings may come and go while it runs. */
export interface LimiterHolder {
  /** `undefined`: nobody has limits, so nothing is held against any. */
  readonly current: Limiter | undefined;
  /** Puts limits in force; `undefined`: none. Running requests keep what they have. */
  use(settings: LimitSettings | undefined): void;
  close(): Promise<void>;
}

/**
 * Holds a gateway's limiter, which is made when somebody has limits for the first time.
 *
 * @param store Where limits are counted; its owner closes it. `undefined`: in memory, where limits come with a reload.
 */
export function holdLimiter(
  first: LimitSettings | undefined,
  store: LimitStore | undefined,
  options: Omit<LimiterOptions, 'settings' | 'store'>,
): LimiterHolder {
  let limiter: Limiter | undefined;
  let isUsed = false;
  const use = (settings: LimitSettings | undefined): void => {
    isUsed = settings !== undefined && limitsAnybody(settings);
    if (!isUsed || settings === undefined) return;
    if (limiter === undefined) {
      const { clock } = options;
      limiter = new Limiter({ ...options, settings, store: store ?? createMemoryLimitStore({ clock }) });
    } else {
      limiter.use(settings);
    }
  };
  use(first);
  return {
    get current() {
      return isUsed ? limiter : undefined;
    },
    use,
    close: async () => await limiter?.close(),
  };
}

/** Whether anybody has limits. Prices alone limit nothing. */
function limitsAnybody({ keys, others, tenants }: LimitSettings): boolean {
  return tenants.size > 0 || others !== undefined || keys.size > 0;
}
