import { join } from 'node:path';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { expect, test } from 'vitest';
import type { TapState } from '@spillway/server/tap/tap-state';
import { PrometheusReader } from '../src/telemetry/prometheus-reader.ts';
import { defineTapMetrics } from '../src/telemetry/tap-metrics.ts';
import { holdLog } from './support/held-log.ts';
import { eventually, startGateway } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { metric, postChat } from './support/requests.ts';

/** The series that the metrics of these taps have, with their values. `atStart`: the taps before a reload. */
async function seriesOf(taps: readonly TapState[], atStart = taps): Promise<string[]> {
  const reader = new PrometheusReader((error) => {
    throw error;
  });
  const provider = new MeterProvider({ readers: [reader] });
  let now = atStart;
  defineTapMetrics(provider.getMeter('spillway'), () => now);
  now = taps;
  const text = await reader.text();
  await provider.shutdown();
  return text.split('\n').filter((line) => line.startsWith('spillway_'));
}

const tap: TapState = {
  name: 'audit',
  to: 'sqlite:audit.db',
  content: 'full',
  overflow: 'coalesce',
  gate: true,
  durability: 'fsync',
  isUp: true,
  isShedding: false,
  lag: { records: 3, bytes: 400, ms: 1500 },
  records: 20,
  bytes: 5000,
  writes: 8,
  failures: 2,
  lost: 1,
  forgotten: 2,
  redacted: 4,
  waitedMs: 250,
  head: { writer: 1, count: 21, hash: 'ab' },
  spill: undefined,
  problem: undefined,
  facts: undefined,
  deadLetters: undefined,
  groups: [],
};

test('each figure of a tap has its series, in seconds and bytes', async () => {
  expect((await seriesOf([tap])).toSorted()).toEqual([
    'spillway_tap_bytes_total{tap="audit"} 5000',
    'spillway_tap_forgotten_total{tap="audit"} 2',
    'spillway_tap_head{tap="audit"} 21',
    'spillway_tap_lag_bytes{tap="audit"} 400',
    'spillway_tap_lag_records{tap="audit"} 3',
    'spillway_tap_lag_time_seconds{tap="audit"} 1.5',
    'spillway_tap_lost_total{tap="audit"} 1',
    'spillway_tap_records_total{tap="audit"} 20',
    'spillway_tap_redacted_total{tap="audit"} 4',
    'spillway_tap_shedding{tap="audit"} 0',
    'spillway_tap_up{tap="audit"} 1',
    'spillway_tap_wait_time_seconds_total{tap="audit"} 0.25',
    'spillway_tap_writes_total{tap="audit",result="failed"} 2',
    'spillway_tap_writes_total{tap="audit",result="kept"} 8',
  ]);
});

test('a tap to an engine has series of its dead letters, and of each group whose lag is known', async () => {
  const deadLetters = { path: 'a', records: 2, bytes: 300, maxBytes: 1000 };
  const groups = [
    { group: 'known', entries: 12, ms: 2500, problem: undefined },
    { group: 'ageless', entries: 3, ms: undefined, problem: undefined },
    { group: 'unknown', entries: undefined, ms: undefined, problem: 'it is away' },
  ];
  const series = await seriesOf([{ ...tap, deadLetters, groups }]);
  expect(series.filter((line) => /dead_letter|group/.test(line)).toSorted()).toEqual([
    'spillway_tap_dead_letter_bytes{tap="audit"} 300',
    'spillway_tap_dead_letter_max_bytes{tap="audit"} 1000',
    'spillway_tap_dead_letters_total{tap="audit"} 2',
    'spillway_tap_group_lag_known{tap="audit",group="ageless"} 1',
    'spillway_tap_group_lag_known{tap="audit",group="known"} 1',
    'spillway_tap_group_lag_known{tap="audit",group="unknown"} 0',
    'spillway_tap_group_lag_records{tap="audit",group="ageless"} 3',
    'spillway_tap_group_lag_records{tap="audit",group="known"} 12',
    'spillway_tap_group_lag_time_seconds{tap="audit",group="known"} 2.5',
  ]);
});

test('without taps there is no series, and one of a spill only where a tap has one', async () => {
  expect(await seriesOf([])).toEqual([]);
  const spilling = {
    ...tap,
    name: 'nightly',
    spill: { records: 7, bytes: 700, maxBytes: 1000, isEngineUp: false },
  };
  const ofSpill = (await seriesOf([tap, spilling])).filter((line) => line.includes('spill_'));
  expect(ofSpill.toSorted()).toEqual([
    'spillway_tap_spill_bytes{tap="nightly"} 700',
    'spillway_tap_spill_engine_up{tap="nightly"} 0',
    'spillway_tap_spill_max_bytes{tap="nightly"} 1000',
    'spillway_tap_spill_records{tap="nightly"} 7',
  ]);
});

test('taps that a reload has brought have their series, that of a spill too', async () => {
  const spill = { records: 7, bytes: 700, maxBytes: 1000, isEngineUp: false };
  const brought = await seriesOf([{ ...tap, spill }], []);
  expect(brought).toEqual(await seriesOf([{ ...tap, spill }]));
  expect(brought).toContain('spillway_tap_spill_records{tap="audit"} 7');
});

test('a tap whose log cannot be written is down and lags, and is up again with nothing lost', async () => {
  const path = join(temporaryFolder(), 'audit.db');
  const gateway = await startGateway([
    '--tap',
    `name=audit,to=sqlite:${path},deadlineMs=200,overflow=drop-oldest`,
  ]);
  const of = (name: string, more = ''): Promise<number> =>
    metric(gateway.adminUrl, `spillway_tap_${name}{tap="audit"${more}}`);
  const chat = async (): Promise<void> => {
    await (await postChat(gateway.url, 'sim:tokens=20,tps=0,ttft=0')).text();
  };
  await chat();
  await eventually(async () => (await of('records_total')) > 0, 'records to be kept');
  expect(await of('up')).toBe(1);
  const release = holdLog(path);
  await chat();
  await eventually(async () => (await of('up')) === 0, 'the tap to be down');
  await eventually(async () => (await of('lag_time_seconds')) > 0.5, 'the tap to lag');
  expect(await of('lag_records')).toBeGreaterThan(0);
  expect(await of('lag_bytes')).toBeGreaterThan(0);
  expect(await of('writes_total', ',result="failed"')).toBeGreaterThan(0);
  release();
  await eventually(async () => (await of('up')) === 1, 'the tap to be up again');
  await eventually(async () => (await of('lag_records')) === 0, 'the tap to have everything');
  expect(await of('lag_time_seconds')).toBe(0);
  expect(await of('wait_time_seconds_total')).toBeGreaterThan(0.5);
  // The chain has a record of its own for its beginning.
  expect(await of('head')).toBeGreaterThan(await of('records_total'));
  const lines = gateway.stderr();
  expect(lines).toContain('"msg":"a tap is down: its sink does not keep what is written"');
  expect(lines).toMatch(/"tap":"audit","downMs":\d+,"msg":"a tap is up again"/);
});
