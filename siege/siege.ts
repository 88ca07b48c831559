import { setTimeout as sleep } from 'node:timers/promises';
import { type Counts, Attackers } from './attackers-process.ts';
import { type GatewayState, isOfConnections, readState } from './gateway-state.ts';
import { type HonestReport, HonestStreams } from './honest-streams.ts';
import { isAnswered, Observation } from './observation.ts';
import { keys, type SmallGateway } from './small-gateway.ts';
import type { SiegeRecord } from './siege-record.ts';
import { compare } from './verdict.ts';

/** Longer than every grace of the small gateway, and than what a provider keeps an idle connection for. */
const settleMs = 20_000;
const settleEveryMs = 500;
const serveAgainMs = 30_000;
/** Attackers get the core last. How much longer they may have until each kind has begun. */
const beginMs = 60_000;

export interface SiegeOptions {
  readonly kinds: readonly string[];
  readonly calmMs: number;
  readonly attackMs: number;
}

/** The same honest streams in a calm and under attack, and what the gateway holds before and after. */
export async function besiege(target: SmallGateway, options: SiegeOptions): Promise<SiegeRecord> {
  const calmly = new Observation(target);
  const calm = await readHonestly(target, () => sleep(options.calmMs));
  const calmObserved = calmly.stop();
  const before = await settle(target, undefined);
  if (before.state === undefined || !before.isSettled) {
    throw new Error(`the gateway did not come to rest after the calm: ${JSON.stringify(before.state)}`);
  }

  let attacked: Counts = {};
  let assault: string | undefined;
  const observation = new Observation(target);
  const honest = await readHonestly(target, async () => {
    ({ attacked, assault } = await attack(target, options));
  });
  const observed = observation.stop();
  const servedAgainMs = await waitUntilServed(target);
  const after = await settle(target, before.state);
  return {
    calm,
    calmly: calmObserved,
    before: before.state,
    honest,
    observed,
    attacked,
    assault,
    servedAgainMs,
    settled: after.state,
    settledMs: after.ms,
    exit: target.exit(),
  };
}

async function readHonestly(
  { gateway }: SmallGateway,
  during: () => Promise<unknown>,
): Promise<HonestReport> {
  const streams = new HonestStreams(gateway.url);
  await during();
  return await streams.stop();
}

/** Attacks for so long, and until each kind has attacked, or until the gateway's process has ended. */
export async function attack(
  target: SmallGateway,
  { attackMs, kinds }: Pick<SiegeOptions, 'attackMs' | 'kinds'>,
): Promise<{ attacked: Counts; assault: string | undefined }> {
  const { adminUrl = '', url } = target.gateway;
  const attackers = new Attackers({ gatewayUrl: url, adminUrl, key: keys.attacker }, kinds);
  const endMs = performance.now() + attackMs;
  const isOver = (): boolean => {
    const nowMs = performance.now();
    return nowMs >= endMs && (nowMs >= endMs + beginMs || hasEachBegun(attackers.counts, kinds));
  };
  while (!isOver() && target.exit() === undefined) await sleep(100);
  try {
    return { attacked: await attackers.stop(), assault: undefined };
  } catch (error) {
    return { attacked: attackers.counts, assault: (error as Error).message };
  }
}

function hasEachBegun(counts: Counts, kinds: readonly string[]): boolean {
  return kinds.every((kind) => (counts[kind]?.attempts ?? 0) > 0);
}

async function waitUntilServed({ gateway }: SmallGateway): Promise<number> {
  const startedMs = performance.now();
  while (performance.now() - startedMs < serveAgainMs) {
    if (await isAnswered(gateway.url)) return performance.now() - startedMs;
    await sleep(100);
  }
  return Infinity;
}

/**
 * Waits until the gateway holds what it held before, or until nothing is left of a first load.
 *
 * @returns what it held in the end, and after how long that was.
 */
export async function settle(
  target: SmallGateway,
  before: GatewayState | undefined,
): Promise<{ state: GatewayState | undefined; isSettled: boolean; ms: number }> {
  const startedMs = performance.now();
  let state: GatewayState | undefined;
  let isSettled = false;
  while (!isSettled && performance.now() - startedMs < settleMs && target.exit() === undefined) {
    await sleep(settleEveryMs);
    const last = state;
    state = await readState(target).catch(() => undefined);
    if (state === undefined) continue;
    isSettled =
      before === undefined ? isAtRest(state, last) : compare(before, state).every(({ isHeld }) => isHeld);
  }
  return { state, isSettled, ms: performance.now() - startedMs };
}

/** Whether nothing is left of a load, and nothing changes any more. Whoever asks has a connection meanwhile. */
function isAtRest(state: GatewayState, last: GatewayState | undefined): boolean {
  const left = Object.entries(state.gauges).filter(([series]) => !isOfConnections(series));
  return left.every(([, value]) => value === 0) && state.descriptors === last?.descriptors;
}
