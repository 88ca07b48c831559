import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { expect, test } from 'vitest';
import { LimitError } from '@spillway/server/limit/limit-error';
import { LimitCounts } from '../src/limit/limit-counts.ts';
import { noUsage } from '../src/limit/usage-figures.ts';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { defineLimitMetrics } from '../src/telemetry/limit-metrics.ts';
import { PrometheusReader } from '../src/telemetry/prometheus-reader.ts';

/** The series that the metrics of these tenants have, with their values. */
async function seriesOf(reports: readonly TenantReport[], counts = new LimitCounts()): Promise<string[]> {
  const reader = new PrometheusReader((error) => {
    throw error;
  });
  const provider = new MeterProvider({ readers: [reader] });
  defineLimitMetrics(provider.getMeter('spillway'), () => ({
    report: { all: async () => [...reports] },
    counts,
  }));
  const text = await reader.text();
  await provider.shutdown();
  return text.split('\n').filter((line) => line.startsWith('spillway_'));
}

const clinic: TenantReport = {
  tenant: 'clinic',
  currency: 'EUR',
  streamsNow: 0,
  configured: [],
  limits: [
    {
      scope: 'tenant',
      key: '',
      name: 'tokensPerDay',
      limit: 100,
      used: 60,
      reserved: 30,
      remaining: 10,
      resetMs: 5,
    },
    {
      scope: 'key',
      key: 'clinic/web',
      name: 'streams',
      limit: 5,
      used: 1,
      reserved: 0,
      remaining: 4,
      resetMs: null,
    },
  ],
  usage: {
    today: noUsage,
    month: noUsage,
    sinceStart: {
      ...noUsage,
      requests: 2,
      inputTokens: 10,
      outputTokens: 50,
      cost: 1_500_000,
      wastedTokens: 3,
      wastedCost: 500_000,
    },
  },
};

test('each tenant has its series, in tokens and in money, and keys have none', async () => {
  const counts = new LimitCounts();
  const reached = { scope: 'user', name: 'userStreams', value: 1, used: 1, resetMs: undefined } as const;
  for (const isCut of [false, false, true]) counts.add(new LimitError(reached, 'Too many.'), isCut);
  const series = await seriesOf([clinic], counts);
  // Those of limits that nobody has reached are there, and nothing.
  expect(series).toContain('spillway_limit_refusals_total{scope="tenant",limit="tokensPerDay"} 0');
  expect(series).toContain('spillway_limit_cuts_total{scope="answer",limit="answerMs"} 0');
  const isCount = /^spillway_limit_(?:cuts|refusals)_total.* 0$/;
  expect(series.filter((line) => !isCount.test(line)).toSorted()).toEqual([
    'spillway_limit_cuts_total{scope="user",limit="userStreams"} 1',
    'spillway_limit_max{tenant="clinic",limit="tokensPerDay"} 100',
    'spillway_limit_refusals_total{scope="user",limit="userStreams"} 2',
    'spillway_limit_reserved{tenant="clinic",limit="tokensPerDay"} 30',
    'spillway_limit_used{tenant="clinic",limit="tokensPerDay"} 60',
    'spillway_tenant_cost_total{tenant="clinic",type="saved"} 0',
    'spillway_tenant_cost_total{tenant="clinic",type="used"} 1.5',
    'spillway_tenant_cost_total{tenant="clinic",type="wasted"} 0.5',
    'spillway_tenant_requests_total{tenant="clinic"} 2',
    'spillway_tenant_tokens_total{tenant="clinic",type="estimated"} 0',
    'spillway_tenant_tokens_total{tenant="clinic",type="input"} 10',
    'spillway_tenant_tokens_total{tenant="clinic",type="output"} 50',
    'spillway_tenant_tokens_total{tenant="clinic",type="overshoot"} 0',
    'spillway_tenant_tokens_total{tenant="clinic",type="saved"} 0',
    'spillway_tenant_tokens_total{tenant="clinic",type="unpriced"} 0',
    'spillway_tenant_tokens_total{tenant="clinic",type="wasted"} 3',
  ]);
});

test('a hundred tenants have series, and the others are one', async () => {
  const many = Array.from({ length: 130 }, (_, index) => ({ ...clinic, tenant: `tenant-${index}` }));
  const series = await seriesOf(many);
  expect(series).toContain('spillway_tenant_requests_total{tenant="other"} 60');
  expect(series.filter((line) => line.startsWith('spillway_tenant_requests_total'))).toHaveLength(101);
  expect(series.filter((line) => line.startsWith('spillway_limit_used'))).toHaveLength(100);
});

test('a store of limits that does not answer leaves the other figures', async () => {
  const series = await seriesOf([{ ...clinic, limits: null }]);
  expect(series).toContain('spillway_tenant_requests_total{tenant="clinic"} 2');
  expect(series.some((line) => line.startsWith('spillway_limit_used'))).toBe(false);
});
