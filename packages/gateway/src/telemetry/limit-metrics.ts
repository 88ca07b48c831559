import type { Meter as Instruments, Observable } from '@opentelemetry/api';
import type { LimitCounts } from '../limit/limit-counts.ts';
import type { UsageFigures } from '../limit/usage-figures.ts';
import type { TenantReport, UsageReport } from '../limit/usage-report.ts';

/** The tenants that have series of their own; the others have those of `other` together. */
const maxTenants = 100;
const other = 'other';

/** What is read of the limits and the use of tenants. */
export interface MeteredLimits {
  readonly report: Pick<UsageReport, 'all'>;
  readonly counts: Pick<LimitCounts, 'cut' | 'refused'>;
}

const tokens: Readonly<Record<string, (figures: UsageFigures) => number>> = {
  input: ({ inputTokens }) => inputTokens,
  output: ({ outputTokens }) => outputTokens,
  estimated: ({ estimatedTokens }) => estimatedTokens,
  unpriced: ({ unpricedTokens }) => unpricedTokens,
  saved: ({ savedTokens }) => savedTokens,
  wasted: ({ wastedTokens }) => wastedTokens,
  overshoot: ({ overshootTokens }) => overshootTokens,
};

const costs: Readonly<Record<string, (figures: UsageFigures) => number>> = {
  used: ({ cost }) => cost,
  saved: ({ savedCost }) => savedCost,
  wasted: ({ wastedCost }) => wastedCost,
};

/**
 * Defines the figures of limits and of what tenants use. Without limits and prices there are none. All are read by one
 * look at all tenants.
 */
export function defineLimitMetrics(instruments: Instruments, read: () => MeteredLimits | undefined): void {
  const gauge = (name: string, description: string): Observable =>
    instruments.createObservableGauge(name, { description });
  const counter = (name: string, unit: string, description: string): Observable =>
    instruments.createObservableCounter(name, { unit, description });
  const used = gauge(
    'spillway.limit.used',
    'What is used of a limit of a tenant, in the unit of its setting',
  );
  const reserved = gauge('spillway.limit.reserved', 'What running streams have reserved of it beyond that');
  const allowed = gauge('spillway.limit.max', 'What it allows');
  const refusals = counter('spillway.limit.refusals', '{request}', 'Requests that a limit refused');
  const cuts = counter('spillway.limit.cuts', '{stream}', 'Answers that a limit ended');
  const requests = counter('spillway.tenant.requests', '{request}', 'Requests of a tenant that have ended');
  const tokenCount = counter(
    'spillway.tenant.tokens',
    '{token}',
    'Tokens of a tenant, by what they are; estimated and unpriced ones are among input and output',
  );
  const cost = counter(
    'spillway.tenant.cost',
    '',
    "What the tokens of a tenant cost by the table of prices, in its currency's units",
  );
  instruments.addBatchObservableCallback(
    async (result) => {
      const limits = read();
      if (limits === undefined) return;
      const reports = await limits.report.all();
      const own = reports.length > maxTenants ? reports.slice(0, maxTenants) : reports;
      for (const { limits: known, tenant } of own)
        for (const { limit, name, reserved: held, scope, used: spent } of known ?? []) {
          if (scope !== 'tenant') continue;
          const attributes = { tenant, limit: name };
          result.observe(used, spent, attributes);
          result.observe(reserved, held, attributes);
          result.observe(allowed, limit, attributes);
        }
      for (const [tenant, all] of grouped(reports)) {
        const sum = (figure: (figures: UsageFigures) => number): number =>
          all.reduce((total, { usage }) => total + figure(usage.sinceStart), 0);
        result.observe(
          requests,
          sum((figures) => figures.requests),
          { tenant },
        );
        for (const [type, figure] of Object.entries(tokens))
          result.observe(tokenCount, sum(figure), { tenant, type });
        for (const [type, figure] of Object.entries(costs))
          result.observe(cost, sum(figure) / 1_000_000, { tenant, type });
      }
      for (const [figure, counts] of [
        [refusals, limits.counts.refused],
        [cuts, limits.counts.cut],
      ] as const)
        for (const { count, name, scope } of counts.values())
          result.observe(figure, count, { scope, limit: name });
    },
    [used, reserved, allowed, refusals, cuts, requests, tokenCount, cost],
  );
}

/** The tenants with series of their own, and all others together. */
function grouped(reports: readonly TenantReport[]): Map<string, TenantReport[]> {
  const groups = new Map<string, TenantReport[]>();
  for (const [index, report] of reports.entries()) {
    const tenant = index < maxTenants ? report.tenant : other;
    groups.set(tenant, [...(groups.get(tenant) ?? []), report]);
  }
  return groups;
}
