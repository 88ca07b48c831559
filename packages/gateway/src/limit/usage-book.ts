import type { ServerClock } from '@spillway/server/time/server-clock';
import { calendarBounds } from '@spillway/core/limit/calendar';
import { figureNames, noUsage, type UsageFigures } from './usage-figures.ts';

/** The tenants that are known; whoever comes later is counted as `other`. */
const maxTenants = 1000;
/** The name under which those are counted that are too many. No tenant can have it: names have no spaces. */
export const otherTenants = 'all others';

type Period = 'day' | 'month';

/** What a tenant used in one period, as it is kept in a file. */
export interface SavedUsage {
  readonly tenant: string;
  readonly period: Period;
  /** When the period began, in milliseconds since 1970. */
  readonly startMs: number;
  readonly figures: UsageFigures;
}

/** The use of one tenant: today and this month by UTC, and since the process began. */
export interface TenantUsage {
  readonly today: UsageFigures;
  readonly month: UsageFigures;
  readonly sinceStart: UsageFigures;
}

interface Account {
  /** When the period began. */
  startMs: number;
  endMs: number;
  figures: Record<keyof UsageFigures, number>;
}

interface Accounts {
  readonly day: Account;
  readonly month: Account;
  readonly sinceStart: Record<keyof UsageFigures, number>;
}

/** What each tenant has used. Bounded: at most 1,000 tenants, and all others together. */
export class UsageBook {
  readonly #clock: Pick<ServerClock, 'dateMs'>;
  readonly #tenants = new Map<string, Accounts>();
  /** Grows with each change. */
  changes = 0;

  constructor(clock: Pick<ServerClock, 'dateMs'>, saved: readonly SavedUsage[] = []) {
    this.#clock = clock;
    const dateMs = clock.dateMs();
    for (const { figures, period, startMs, tenant } of saved) {
      const account = this.#of(tenant, dateMs)[period];
      // Of a period that is over since then, nothing counts.
      if (account.startMs === startMs) for (const name of figureNames) account.figures[name] += figures[name];
    }
  }

  /** Adds to what a tenant has used; what is not named stays. */
  add(tenant: string, figures: Partial<UsageFigures>): void {
    const { day, month, sinceStart } = this.#of(tenant, this.#clock.dateMs());
    for (const name of figureNames) {
      const more = figures[name] ?? 0;
      day.figures[name] += more;
      month.figures[name] += more;
      sinceStart[name] += more;
    }
    this.changes += 1;
  }

  /** The tenants that have used something, in the order in which they came. */
  get tenants(): readonly string[] {
    return [...this.#tenants.keys()];
  }

  usageOf(tenant: string): TenantUsage {
    const accounts = this.#tenants.get(tenant);
    if (accounts === undefined) return { today: noUsage, month: noUsage, sinceStart: noUsage };
    const dateMs = this.#clock.dateMs();
    const present = (account: Account): UsageFigures => (isIn(account, dateMs) ? account.figures : noUsage);
    return {
      today: { ...present(accounts.day) },
      month: { ...present(accounts.month) },
      sinceStart: { ...accounts.sinceStart },
    };
  }

  /** What is to be kept over a restart. */
  saved(): SavedUsage[] {
    return Array.from(this.#tenants, ([tenant, accounts]) =>
      (['day', 'month'] as const).map((period) => {
        const { figures, startMs } = accounts[period];
        return { tenant, period, startMs, figures: { ...figures } };
      }),
    ).flat();
  }

  #of(asked: string, dateMs: number): Accounts {
    const tenant = this.#tenants.has(asked) || this.#tenants.size < maxTenants ? asked : otherTenants;
    let accounts = this.#tenants.get(tenant);
    if (accounts === undefined) {
      accounts = { day: begin('day', dateMs), month: begin('month', dateMs), sinceStart: { ...noUsage } };
      this.#tenants.set(tenant, accounts);
    }
    for (const period of ['day', 'month'] as const)
      if (!isIn(accounts[period], dateMs)) Object.assign(accounts[period], begin(period, dateMs));
    return accounts;
  }
}

function begin(period: Period, dateMs: number): Account {
  const [startMs, endMs] = calendarBounds(period, dateMs);
  return { startMs, endMs, figures: { ...noUsage } };
}

/** A date that went back a little stays in the period, as budgets do. */
function isIn({ endMs, startMs }: Account, dateMs: number): boolean {
  return dateMs < endMs && dateMs >= startMs - (endMs - startMs);
}
