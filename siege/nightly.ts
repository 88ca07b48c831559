/**
 * An hour of mixed load against a small gateway: honest streams beside every kind of attack, in rounds, and after each a
 * rest in which everything is due to be as it was. What the gateway holds in these rests must not grow.
 *
 *     npm run nightly                    an hour
 *     npm run nightly -- --minutes 10    less: the shorter, the less it can tell from noise
 *     npm run nightly -- --only leavers  only some kinds of attack, with commas between them
 *     npm run nightly -- --json          as JSON
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type GatewayState, isOfConnections } from './gateway-state.ts';
import { HonestStreams } from './honest-streams.ts';
import { readChoice } from './choice.ts';
import { printTable } from './report.ts';
import { attack, settle } from './siege.ts';
import { type Slope, slopeOf } from './slope.ts';
import { startSmallGateway } from './small-gateway.ts';

/** So many rounds at least are needed after those in which the process gets warm. */
const leastRounds = 6;
const roundsOfAnHour = 60;
/** Longer than a provider keeps a connection that nobody uses: how many there are is up to chance before. */
const restMs = 6000;
/** Code is compiled, caches fill and the allocator finds its size: a fourth of the rounds. */
const warmUpPart = 0.25;

/** What must not grow. Growth below `least`, over the whole time, is none; with more noise than `most` nothing is known. */
const quantities = [
  { name: 'heap, MB', of: ({ heapBytes }: GatewayState) => heapBytes / 1e6, least: 1, most: 8 },
  { name: 'memory, MB', of: ({ rssBytes }: GatewayState) => rssBytes / 1e6, least: 8, most: 48 },
  { name: 'descriptors', of: ({ descriptors }: GatewayState) => descriptors, least: 1, most: 4 },
  { name: 'timers, sockets and requests', of: ({ resources }: GatewayState) => resources, least: 2, most: 8 },
  {
    // Connections are descriptors.
    name: 'sum of all other gauges',
    of: ({ gauges }: GatewayState) =>
      Object.entries(gauges).reduce(
        (sum, [series, value]) => (isOfConnections(series) ? sum : sum + value),
        0,
      ),
    least: 0,
    most: 0,
  },
];

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const { chosen, minutes } = readChoice(values, 'nightly');
const totalMs = minutes * 60_000;
/** A minute in an hour, rests included. */
const loadMs = Math.max(5000, totalMs / roundsOfAnHour - 10_000);

const target = await startSmallGateway();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void target.stop().then(() => process.exit(1)));
}
const samples: { at: number; state: GatewayState }[] = [];
const problems: string[] = [];
let completed = 0;
try {
  const startedMs = performance.now();
  // Also what is needed for the first time counts as warm-up, so that the first rest has something to be compared with.
  while (performance.now() - startedMs < totalMs && target.exit() === undefined) {
    const round = samples.length + 1;
    const honest = new HonestStreams(target.gateway.url);
    const { assault } = await attack(target, { kinds: chosen, attackMs: loadMs });
    const report = await honest.stop();
    completed += report.completed;
    problems.push(...report.problems.map((problem) => `round ${round}: ${problem}`));
    if (assault !== undefined) problems.push(`round ${round}: ${assault}`);
    await sleep(restMs);
    const { state } = await settle(target, samples[0]?.state);
    if (state === undefined) {
      problems.push(`round ${round}: the gateway does not say what it holds`);
      break;
    }
    samples.push({ at: (performance.now() - startedMs) / 3_600_000, state });
    if (!values.json && process.stdout.isTTY) process.stdout.write(`\rround ${round} `);
  }
  const exit = target.exit();
  if (exit !== undefined) problems.push(exit);
} finally {
  await target.stop();
}

const kept = samples.slice(Math.ceil(samples.length * warmUpPart));
const hours = (kept.at(-1)?.at ?? 0) - (kept[0]?.at ?? 0);
const slopes =
  kept.length < leastRounds
    ? []
    : quantities.map((quantity) => {
        const slope = slopeOf(kept.map(({ at, state }) => ({ at, value: quantity.of(state) })));
        return {
          ...quantity,
          slope,
          last: kept.map(({ state }) => quantity.of(state)).at(-1) ?? 0,
          verdict: judge(slope, quantity),
        };
      });
if (slopes.length === 0)
  problems.push(`too short: ${kept.length} rounds after the warm-up, ${leastRounds} are needed`);
const isHeld = problems.length === 0 && slopes.every(({ verdict }) => verdict === 'held');
if (values.json) {
  console.log(
    JSON.stringify(
      { isHeld, rounds: samples.length, hours, completed, problems, slopes, samples },
      undefined,
      2,
    ),
  );
} else {
  console.log(
    `\n${target.description}\n${samples.length} rounds, ${completed} honest streams read to their end.`,
  );
  printTable(
    [`in ${hours.toFixed(2)} h`, 'growth', 'noise (95 %)', 'none below', 'an hour', 'at the end', ''],
    slopes.map(({ last, least, name, slope, verdict }) => [
      name,
      slope.growth.toFixed(2),
      slope.noise.toFixed(2),
      `${least}`,
      (slope.growth / hours).toFixed(2),
      last.toFixed(1),
      verdict,
    ]),
  );
  for (const problem of problems.slice(0, 20)) console.log(problem);
}
process.exit(isHeld ? 0 : 1);

/** A growth that noise explains, or that is too small to matter, is none. */
function judge({ growth, noise }: Slope, { least, most }: { least: number; most: number }): string {
  if (noise > most) return 'NOT KNOWN: too noisy';
  return growth <= Math.max(least, noise) ? 'held' : 'FAILED';
}
