/**
 * Puts a small gateway under attack by every kind of hostile client, beside twenty honest streams, and says whether
 * those noticed and what is left afterwards. Fails if one thing does not hold.
 *
 *     npm run siege                            ten minutes of all kinds at once
 *     npm run siege -- --minutes 0.5           a quick look
 *     npm run siege -- --only session-pings    one kind, or several with commas between them
 *     npm run siege -- --each --minutes 0.3    each kind alone, one after the other, each against a new gateway
 *     npm run siege -- --json                  as JSON
 */
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { readChoice } from './choice.ts';
import { disturbance, printEach, printRecord } from './report.ts';
import { besiege } from './siege.ts';
import type { SiegeRecord } from './siege-record.ts';
import { startSmallGateway } from './small-gateway.ts';
import { judge } from './verdict.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    only: { type: 'string' },
    each: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const { chosen, minutes } = readChoice(values, 'siege');
const attackMs = minutes * 60_000;
const calmMs = Math.min(60_000, Math.max(6000, attackMs / 5));
// What is loaded by others before it starts makes everybody wait: whoever reads the figures has to know.
const machine = `${availableParallelism()} cores, load ${loadavg()[0]?.toFixed(1)} before it`;

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void stopping?.().then(() => process.exit(1)));
}
let stopping: (() => Promise<void>) | undefined;

const results: { kinds: readonly string[]; description: string; record: SiegeRecord }[] = [];
for (const some of values.each ? chosen.map((name) => [name]) : [chosen]) {
  const target = await startSmallGateway();
  stopping = target.stop;
  try {
    const record = await besiege(target, { kinds: some, calmMs, attackMs });
    results.push({ kinds: some, description: target.description, record });
    if (!values.json) printRecord(some, `${target.description}; ${machine}`, record);
  } finally {
    await target.stop();
  }
}
const isHeld = results.every(({ record }) => judge(record).every((check) => check.isHeld));
if (values.json) {
  const judged = results.map((result) => ({
    ...result,
    checks: judge(result.record),
    disturbance: disturbance(result.record),
  }));
  console.log(JSON.stringify({ machine, minutes, isHeld, results: judged }, undefined, 2));
} else if (values.each) {
  printEach(results.map(({ kinds: [name = ''], record }) => ({ name, record })));
}
process.exit(isHeld ? 0 : 1);
