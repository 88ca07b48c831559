import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Curve, overloadPicture } from './overload-picture.ts';
import { place } from './placement.ts';
import { type Program, quantile, startGateway, startSimulator, stopAll } from './programs.ts';
import {
  type Asker,
  isGood,
  type LoadRecord,
  type Planned,
  poisson,
  runLoad,
} from '../packages/gateway/test/support/open-loop.ts';

/** The provider: so many streams at once at full speed, and without a bound. */
const places = 50;
const [ttftMs, tokensPerSecond, tokens] = [250, 50, 13];
const model = `sim:ttft=${ttftMs},tps=${tokensPerSecond},tokens=${tokens}`;
/** Streams a second: each takes half a second of a place. */
const fits = (places * 1000) / (ttftMs + ((tokens - 1) * 1000) / tokensPerSecond);
/** A first token that is later is worth nothing to who asked. */
const withinMs = 1000;
const patienceMs = 10_000;

/** How the gateway lets requests in. */
const ways: readonly { readonly name: string; readonly args: readonly string[]; readonly limit?: string }[] =
  [
    { name: 'no admission', args: ['--max-streams', '100000'] },
    {
      name: `maxStreams ${places}, maxWaiting ${places}`,
      args: ['--max-streams', `${places}`, '--max-waiting', `${places}`],
    },
    {
      name: `a limit of ${places} at the provider, waitMs 500`,
      args: [],
      limit: `maxStreams=${places},minStreams=${places},maxWaiting=${places},waitMs=500`,
    },
    {
      name: `a limit that finds itself up to ${8 * places}, waitMs 500`,
      args: [],
      limit: `maxStreams=${8 * places},maxWaiting=${places},waitMs=500`,
    },
  ];

const quietNames = Array.from({ length: 9 }, (_, index) => `quiet-${index}`);
const names = ['loud', ...quietNames];

function askerOf(name: string): Asker {
  return { name, model, key: `key-of-${name}` };
}

/**
 * What becomes of a provider's places when more is asked for than fits: goodput (streams that were read whole, with their first
 * token in time) from what fits to five times as much; what refusals and first tokens take; quiet tenants beside a loud
 * one; 500 requests in one instant; and how soon all is as before when the load is over.
 */
export async function overload(isShort: boolean): Promise<void> {
  const { description, load, system } = place();
  console.log(`The gateway ${description}.`);
  const folder = mkdtempSync(join(tmpdir(), 'spillway-overload-'));
  const keys = join(folder, 'keys');
  writeFileSync(keys, names.map((name) => `${name}=key-of-${name}\n`).join(''));
  const curves: Curve[] = [];
  try {
    for (const { args, limit, name } of ways) {
      const simulator = await startSimulator(['--capacity', `places=${places}`], { prefix: load });
      const given = [...args, '--api-keys-file', keys];
      const gateway = await startGateway(
        limit === undefined ? simulator.url : `${limit},url=${simulator.url}`,
        given,
        { prefix: system },
      );
      console.log(`\n## ${name}`);
      curves.push({
        name,
        points: await measure(
          gateway,
          isShort ? { settleMs: 3000, durationMs: 4000 } : { settleMs: 12_000, durationMs: 15_000 },
        ),
      });
      await stopAll();
    }
  } finally {
    await stopAll();
    rmSync(folder, { recursive: true });
  }
  const results = new URL('results/', import.meta.url);
  mkdirSync(results, { recursive: true });
  const file = fileURLToPath(new URL('overload.svg', results));
  writeFileSync(file, overloadPicture(curves));
  console.log(`\nA picture: ${file}`);
}

async function measure({ url }: Program, { durationMs, settleMs }: Times): Promise<Curve['points']> {
  const run = (planned: readonly Planned[]): Promise<LoadRecord[]> => runLoad(planned, { url, patienceMs });
  const loud = askerOf('loud');
  // A process that begins compiles itself, and is not measured.
  const warm = await run(poisson(loud, { perSecond: fits / 2, durationMs: 4000, seed: 1 }));
  const alone = warm.slice(warm.length / 2).map(({ endMs, intendedMs }) => endMs - intendedMs);
  console.log(
    `${fits.toFixed(0)} streams a second fit; one takes ${quantile(alone, 0.5).toFixed(0)} ms alone`,
  );
  const points: { load: number; goodput: number }[] = [];
  for (const load of [0.5, 0.9, 1, 1.11, 1.5, 2, 3, 5]) {
    const all = await run(
      poisson(loud, { perSecond: load * fits, durationMs: settleMs + durationMs, seed: 2 }),
    );
    const records = all.filter(({ intendedMs }) => intendedMs > settleMs);
    const goodput = goodputOf(records, durationMs);
    points.push({ load, goodput });
    console.log(`${load} × what fits: goodput ${percent(goodput)} of it; ${told(records)}`);
  }
  await fairness(run, settleMs + durationMs);
  await instant(run);
  await recovery(run, settleMs + durationMs);
  return points;
}

interface Times {
  /** At the beginning of a load, and not measured: what does not fit gathers. */
  readonly settleMs: number;
  readonly durationMs: number;
}

type Run = (planned: readonly Planned[]) => Promise<LoadRecord[]>;

/** Nine tenants that ask for a twentieth of what fits each, alone and beside one that asks for three times what fits. */
async function fairness(run: Run, durationMs: number): Promise<void> {
  const quiet = quietNames.flatMap((name, index) =>
    poisson(askerOf(name), { perSecond: fits / 20, durationMs, seed: 10 + index }),
  );
  const loud = poisson(askerOf('loud'), { perSecond: 3 * fits, durationMs, seed: 20 });
  const alone = goodOf(await run(quiet));
  const all = await run([...quiet, ...loud]);
  const beside = all.filter(({ asker }) => asker !== 'loud');
  const shares = quietNames.map((name) => {
    const count = (records: readonly LoadRecord[]): number =>
      records.filter(({ asker }) => asker === name).length;
    return count(goodOf(beside)) / count(alone);
  });
  const loudOnes = all.filter(({ asker }) => asker === 'loud');
  console.log(
    `nine quiet tenants beside a loud one keep ${percent(goodOf(beside).length / alone.length)} of what they have alone, the one with the least ` +
      `${percent(Math.min(...shares))}; first tokens p50/p99 ${firstTokens(alone)} ms alone, ${firstTokens(beside)} beside; the loud one has ` +
      `${percent(goodputOf(loudOnes, durationMs))} of what fits`,
  );
}

async function instant(run: Run): Promise<void> {
  const asker = askerOf('loud');
  const records = await run(Array.from({ length: 500 }, () => ({ atMs: 0, asker })));
  console.log(`500 in one instant: ${goodOf(records).length} good; ${told(records)}`);
}

/** After five times what fits comes what fits easily: how long it takes until nearly all of that is good again. */
async function recovery(run: Run, durationMs: number): Promise<void> {
  const asker = askerOf('loud');
  const afterMs = 2 * patienceMs;
  const records = await run([
    ...poisson(asker, { perSecond: 5 * fits, durationMs, seed: 3 }),
    ...poisson(asker, { perSecond: 0.8 * fits, fromMs: durationMs, durationMs: afterMs, seed: 4 }),
  ]);
  const bad = records.filter((record) => record.intendedMs > durationMs && !isGood(record, withinMs));
  const lastMs = Math.max(durationMs, ...bad.map(({ intendedMs }) => intendedMs)) - durationMs;
  const was = lastMs > afterMs - 1000 ? 'not within' : 'after';
  console.log(
    `recovery from five times what fits: ${was} ${(lastMs / 1000).toFixed(1)} s, ${bad.length} were refused or late until then`,
  );
}

/** As a part of what fits. */
function goodputOf(records: readonly LoadRecord[], durationMs: number): number {
  return (goodOf(records).length * 1000) / durationMs / fits;
}

function goodOf(records: readonly LoadRecord[]): LoadRecord[] {
  return records.filter((record) => isGood(record, withinMs));
}

function firstTokens(records: readonly LoadRecord[]): string {
  return quantiles(
    records.flatMap(({ firstTokenMs, intendedMs }) =>
      firstTokenMs === undefined ? [] : [firstTokenMs - intendedMs],
    ),
  );
}

/** What became of all, and how long it took. A measure that was late itself says so. */
function told(records: readonly LoadRecord[]): string {
  const of = (end: LoadRecord['end']): LoadRecord[] => records.filter((record) => record.end === end);
  const refused = of('refused');
  const withTime = refused.filter(({ retryAfterS }) => retryAfterS !== undefined);
  const times = (from: 'intendedMs' | 'sentMs'): string =>
    quantiles(refused.map((record) => record.endMs - record[from]));
  const refusals =
    refused.length === 0
      ? ''
      : ` (p50/p99 ${times('intendedMs')} ms, from when they were sent ${times('sentMs')}; Retry-After: ${percent(withTime.length / refused.length)})`;
  const late = quantiles(records.map(({ intendedMs, sentMs }) => sentMs - intendedMs));
  return (
    `of ${records.length}: whole ${of('completed').length}, first tokens p50/p99 ${firstTokens(of('completed'))} ms, refused ${refused.length}${refusals}, ` +
    `gave up ${of('left').length}, cut or failed ${of('failed').length}; the load was late by ${late} ms`
  );
}

function quantiles(values: readonly number[]): string {
  if (values.length === 0) return '–';
  return [0.5, 0.99].map((q) => quantile(values, q).toFixed(1)).join('/');
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}
