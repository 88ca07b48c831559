import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startProvider } from './support/capacity.ts';
import { type Asker, isGood, type LoadRecord, type Planned, poisson, runLoad } from './support/open-loop.ts';
import { eventually, type RunningGateway, startGateway } from './support/processes.ts';
import { metric, simulatorStats } from './support/requests.ts';
import type { RunningSimulator } from './support/simulators.ts';

const places = 5;
/** A quarter of a second of a place. */
const model = 'sim:ttft=150,tps=50,tokens=6';
const fits = places * 4;
const maxWaiting = 20;
/**
 * Longer than readers have patience: who is refused only when it has waited so long is one that gave up, however slow the
 * machine is.
 */
const waitMs = 120_000;
const patienceMs = 30_000;

const quietNames = Array.from({ length: 9 }, (_, index) => `quiet-${index}`);

function asker(name: string): Asker {
  return { name, model, key: `key-of-${name}` };
}

/** A provider that does no more at once than it has places, and a gateway that knows how many these are. */
async function startLimited(): Promise<{ gateway: RunningGateway; provider: RunningSimulator }> {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-overload-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const keys = join(folder, 'keys');
  writeFileSync(keys, ['loud', ...quietNames].map((name) => `${name}=key-of-${name}\n`).join(''));
  const provider = await startProvider({ places, most: places });
  const limit = `maxStreams=${places},minStreams=${places},maxWaiting=${maxWaiting},waitMs=${waitMs}`;
  const gateway = await startGateway([
    '--upstream',
    `url=${provider.url}/v1,${limit}`,
    '--api-keys-file',
    keys,
    '--log-level',
    'silent',
  ]);
  return { gateway, provider };
}

function load(gateway: RunningGateway, planned: readonly Planned[]): Promise<LoadRecord[]> {
  return runLoad(planned, { url: gateway.url, patienceMs });
}

function ofTenant(name: string, times: number, seed: number): Planned[] {
  return poisson(asker(name), { perSecond: times * fits, durationMs: 4000, seed });
}

function goodOf(records: readonly LoadRecord[]): number {
  return records.filter((record) => isGood(record, patienceMs)).length;
}

/** Everybody has the whole stream, or is refused and told when to come again; nobody waits in vain, or is cut. */
function expectServedOrRefused(records: readonly LoadRecord[]): LoadRecord[] {
  expect(records.filter(({ end }) => end !== 'completed' && end !== 'refused')).toEqual([]);
  const refused = records.filter(({ end }) => end === 'refused');
  expect(refused.filter(({ status }) => status !== 503)).toEqual([]);
  expect(refused.filter(({ retryAfterS = 0 }) => !(retryAfterS >= 1))).toEqual([]);
  return refused;
}

test('promise 17: at three times what fits, what fits is served, and the rest is refused', async () => {
  const { gateway, provider } = await startLimited();
  const one = await load(gateway, ofTenant('loud', 1, 1));
  const three = await load(gateway, ofTenant('loud', 3, 1));
  const refused = [...expectServedOrRefused(one), ...expectServedOrRefused(three)];
  expect(refused.length).toBeGreaterThan(4 * fits);
  expect(goodOf(three)).toBeGreaterThan(0.7 * goodOf(one));
  // The provider refuses what it has no place for: it was never asked for too much.
  expect((await simulatorStats(provider.url)).filter(({ state }) => state === 'refused')).toEqual([]);
  const counted = await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="failed"}');
  expect(counted).toBe(refused.length);
});

test('promise 17: beside a loud tenant the quiet ones have what they have alone', async () => {
  const { gateway } = await startLimited();
  // One after the other, and evenly: in a burst of its own a tenant is not quiet.
  const quiet = quietNames.flatMap((name, index) =>
    [0, 1000, 2000, 3000].map((atMs) => ({ atMs: atMs + 100 * index, asker: asker(name) })),
  );
  const records = await load(gateway, [...quiet, ...ofTenant('loud', 3, 2)]);
  const ofLoud = records.filter(({ asker: name }) => name === 'loud');
  expectServedOrRefused(records);
  expect(ofLoud.filter(({ end }) => end === 'refused').length).toBeGreaterThan(4 * fits);
  expect(goodOf(records) - goodOf(ofLoud)).toBeGreaterThanOrEqual(0.9 * quiet.length);
});

test('promise 17: of 500 in one instant those that find no place are refused at once', async () => {
  const { gateway, provider } = await startLimited();
  // No place becomes free, so time alone lets nobody in: who is refused now would be refused in vain later.
  const stuck = { ...asker('loud'), model: 'sim:ttft=0,stall=1' };
  const planned = Array.from({ length: 500 }, () => ({ atMs: 0, asker: stuck }));
  const left = new AbortController();
  const running = runLoad(planned, { url: gateway.url, patienceMs: waitMs, signal: left.signal });
  const series = 'spillway_streams_ended_total{state="failed"}';
  const expected = planned.length - places - maxWaiting;
  await eventually(
    async () => (await metric(gateway.adminUrl, series)) === expected,
    'all others to be refused',
  );
  left.abort();
  const records = await running;
  expect(records.filter(({ end }) => end === 'refused')).toHaveLength(expected);
  expect(records.filter(({ end }) => end === 'left')).toHaveLength(places + maxWaiting);
  expect((await simulatorStats(provider.url)).map(({ state }) => state)).not.toContain('refused');
});
