import type { LimitStore } from '@spillway/core';
import type { LimitSettings } from '../config/limits.ts';
import { Limiter, type LimiterOptions } from './limiter.ts';

/** The limiter of a gateway, whose settings may come and go while it runs. */
export interface LimiterHolder {
  /** `undefined`: nobody has limits, so nothing is held against any. */
  readonly current: Limiter | undefined;
  /**
   * Puts limits in force; `undefined`: none. Running requests keep what they have.
   *
   * @param store where limits are kept, once somebody has some; the first one stays.
   */
  use(settings: LimitSettings | undefined, store: LimitStore | undefined): void;
  close(): Promise<void>;
}

/**
 * Holds a gateway's limiter, which is made when somebody has limits for the first time.
 *
 * @param firstStore where limits are counted; its owner closes it. There is one where there are settings.
 */
export function holdLimiter(
  first: LimitSettings | undefined,
  firstStore: LimitStore | undefined,
  options: Omit<LimiterOptions, 'settings' | 'store'>,
): LimiterHolder {
  let limiter: Limiter | undefined;
  let isUsed = false;
  const use: LimiterHolder['use'] = (settings, store) => {
    isUsed = settings !== undefined && limitsAnybody(settings);
    if (!isUsed || settings === undefined) return;
    if (limiter !== undefined) limiter.use(settings);
    else if (store !== undefined) limiter = new Limiter({ ...options, settings, store });
  };
  use(first, firstStore);
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
