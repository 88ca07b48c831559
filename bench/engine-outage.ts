import type { HostedEngine } from './hosted-engine.ts';
import type { Placement } from './placement.ts';
import { memoryOf, metricOf, type Program } from './programs.ts';
import type { System } from './systems.ts';
import { openPaced, type Running, sleep, steadyModel, throwFailures, withSystems } from './workload.ts';

/** Each token of a hundred slow streams is a record of its own: 1,000 a second. */
const streams = 100;
const tps = 10;
const opensPerSecond = 500;
const settleMs = 5000;
const watchMs = 50;
/** So many times as long as the outage was, and the engine does not catch up. */
const maxPatience = 10;
const mebibyte = 1_048_576;

/**
 * Lets an engine be away for some seconds while streams go on, and says how long after it is back everything is written,
 * what came meanwhile included, and what memory the gateway has.
 */
export async function measureOutage(
  system: System,
  engine: HostedEngine,
  placement: Placement,
  seconds: number,
): Promise<string> {
  let found = '';
  await withSystems({ placement, systems: [system] }, async ([one]) => {
    if (one !== undefined) found = await measure(one, engine, seconds);
  });
  return found;
}

async function measure(one: Running, engine: HostedEngine, seconds: number): Promise<string> {
  const model = steadyModel(tps);
  const readers = await openPaced(one, streams, opensPerSecond, { model });
  await sleep(settleMs);
  const { program } = one;
  const beginBytes = memoryOf(program);
  const keptBefore = await recordsOf(program);
  const startMs = performance.now();
  await engine.fail();
  const away = new Peak(program);
  await away.watch(() => performance.now() - startMs < seconds * 1000);
  const spilled = await spilledOf(program);
  const rate = ((await recordsOf(program)) - keptBefore) / ((performance.now() - startMs) / 1000);
  await engine.heal();
  const backMs = performance.now();
  const draining = new Peak(program);
  const isLate = (): boolean => performance.now() - backMs > seconds * 1000 * maxPatience;
  let left = spilled;
  await draining.watch(async () => (left = await spilledOf(program)) > 0 && !isLate());
  const writtenMs = performance.now() - backMs;
  const lost = await metricOf(program, 'spillway_tap_lost_total{tap="tap"}');
  throwFailures(readers);
  for (const reader of readers) reader.leave();
  const mib = (bytes: number): string => (bytes / mebibyte).toFixed(0);
  return [
    `${rate.toFixed(0)} records/s`,
    `${spilled} on the disk after ${seconds} s`,
    left === 0
      ? `all written ${(writtenMs / 1000).toFixed(1)} s after it was back`
      : `${left} still on the disk ${(writtenMs / 1000).toFixed(0)} s after it was back`,
    `memory ${mib(beginBytes)} MiB before, at most ${mib(away.bytes)} while it was away and ${mib(draining.bytes)} until all was written`,
    `${lost} lost`,
  ].join(', ');
}

/** The most memory that a program had while it was watched. */
class Peak {
  bytes = 0;
  readonly #program: Program;

  constructor(program: Program) {
    this.#program = program;
  }

  async watch(goesOn: () => Promise<boolean> | boolean): Promise<void> {
    do {
      this.bytes = Math.max(this.bytes, memoryOf(this.#program));
      await sleep(watchMs);
    } while (await goesOn());
  }
}

function recordsOf(program: Program): Promise<number> {
  return metricOf(program, 'spillway_tap_records_total{tap="tap"}');
}

function spilledOf(program: Program): Promise<number> {
  return metricOf(program, 'spillway_tap_spill_records{tap="tap"}');
}
