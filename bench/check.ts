/**
 * Compares what Spillway costs with the stored baseline, both as ratios to the bare Node pipe of the same run. Fails when
 * one of them is more than a tenth higher.
 *
 *     npm run bench:check
 *     npm run bench:check -- --update      takes what it measures as the new baseline
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { quantile, stopAll } from './programs.ts';
import { measure, withoutPeers, workloads } from './suite.ts';
import { spillway } from './systems.ts';
import type { Workload } from './workload.ts';

/** Costs; times are left out, as a machine that does something else makes them longer. */
const watchedWorkloads = new Set(['W1', 'W2', 'W3', 'W6']);
const tolerance = 1.1;
const rounds = { quick: 5, slow: 1 };
/** A round of W1 takes a second or two, and one differs from the next by a tenth. */
const manyRounds = new Map([['W1', { quick: 15, slow: 1 }]]);
/** What looks too dear is measured so often in all before it is believed, and a new baseline so often. */
const [runs, baselineRuns] = [3, 5];

const file = new URL('baseline.json', import.meta.url);
const { values } = parseArgs({ options: { update: { type: 'boolean', default: false } } });
/** The ratios of each run, by what they are of. */
const found = new Map<string, number[]>();
try {
  const watched = workloads.filter(({ name }) => watchedWorkloads.has(name));
  if (values.update) {
    for (let run = 0; run < baselineRuns; run += 1) await add(watched);
    const ratios = [...found].map(([key, all]) => [key, Number(quantile(all, 0.5).toFixed(3))]);
    for (const [key, all] of found) {
      console.log(`${key.padEnd(72)} ${all.map((ratio) => ratio.toFixed(2)).join(', ')}`);
    }
    writeFileSync(file, `${JSON.stringify(Object.fromEntries(ratios), undefined, 2)}\n`);
  } else {
    await add(watched);
    const baseline = readBaseline();
    for (let run = 1; run < runs; run += 1) {
      await add(watched.filter(({ name }) => dearer(baseline).some((key) => key.startsWith(name))));
    }
    report(baseline);
    process.exitCode = dearer(baseline).length === 0 ? 0 : 1;
  }
} finally {
  await stopAll();
}

async function add(chosen: readonly Workload[]): Promise<void> {
  for (const workload of chosen) {
    const { workloads: measured } = await measure(
      [workload],
      withoutPeers,
      manyRounds.get(workload.name) ?? rounds,
    );
    for (const figure of measured.flatMap(({ figures }) => figures)) {
      if (figure.system !== spillway || !figure.isWatched || figure.ratio === undefined) continue;
      const key = `${workload.name} ${figure.case}: ${figure.metric}`;
      found.set(key, [...(found.get(key) ?? []), figure.ratio]);
    }
  }
}

function readBaseline(): Readonly<Record<string, number>> {
  if (!existsSync(file)) throw new Error('there is no baseline: npm run bench:check -- --update');
  return JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>;
}

function dearer(baseline: Readonly<Record<string, number>>): string[] {
  return [...found]
    .filter(([key, ratios]) => quantile(ratios, 0.5) > tolerance * (baseline[key] ?? Number.NaN))
    .map(([key]) => key);
}

function report(baseline: Readonly<Record<string, number>>): void {
  for (const [key, ratios] of found) {
    const [now, before] = [quantile(ratios, 0.5), baseline[key]];
    const change = before === undefined ? 'new' : `${((now / before - 1) * 100).toFixed(0)} %`;
    const verdict = dearer(baseline).includes(key) ? '  DEARER' : '';
    console.log(
      `${key.padEnd(72)} ${now.toFixed(2)}, baseline ${before?.toFixed(2) ?? '–'} (${change})${verdict}`,
    );
  }
}
