/**
 * Measures one case and prints its rate.
 *
 *     node bench/channel/run-case.ts 'one by one' 'spillway: offer, take' 1024
 */
import { cases, type Kind } from './cases.ts';

const [kind = '', name = '', capacity = ''] = process.argv.slice(2);
const load = cases[kind as Kind]?.[name];
if (load === undefined) throw new Error(`no case ${name}, ${kind}`);
const carry = await load();

/** So long that the collection of a run's garbage is part of it. */
const runMs = 40;
const warmUps = 5;
const runs = 8;

async function millisecondsFor(count: number): Promise<number> {
  const start = performance.now();
  await carry(count, Number(capacity));
  const milliseconds = performance.now() - start;
  // What a stream does after its end belongs to no run.
  await new Promise((resolve) => setImmediate(resolve));
  return milliseconds;
}

let count = 1024;
while (Math.min(await millisecondsFor(count), await millisecondsFor(count)) < runMs) count *= 2;
for (let run = 0; run < warmUps; run += 1) await millisecondsFor(count);

// What disturbs a run can only make it slower: the best is closest to what the case costs.
let best = Infinity;
for (let run = 0; run < runs; run += 1) best = Math.min(best, await millisecondsFor(count));
console.log((count / best) * 1000);
