import { fileURLToPath } from 'node:url';
import { spawnNode } from '../packages/gateway/test/support/spawn.ts';
import { Ages } from './ages.ts';
import { place } from './placement.ts';
import { listening, memoryOf, quantile } from './programs.ts';
import type { System } from './systems.ts';
import {
  openPaced,
  type Running,
  sleep,
  startCount,
  steadyModel,
  throwFailures,
  withSystems,
} from './workload.ts';

/** What stands between the streams and the sink. */
export type SinkWay = 'gate' | 'naive' | 'nobody' | 'tap';

/** What a program says of its sink. */
export interface SlowSinkFigures {
  readonly lagMs: number;
  readonly lagRecords: number;
  readonly lagBytes: number;
  readonly records: number;
  readonly writes: number;
}

const program = fileURLToPath(new URL('load/slow-sink.ts', import.meta.url));
const ways: readonly SinkWay[] = ['nobody', 'naive', 'tap', 'gate'];
/** Streams, and tokens a second of each: what one core can do without a tap. */
const loads = [
  [1, 80],
  [100, 80],
  [1000, 10],
] as const;
/** A process that was just started grows once, whatever it does: a queue is told from that after a minute. */
const minuteMs = 60_000;
const agesMs = 10_000;
const opensPerSecond = 500;
const settleMs = 2000;

/**
 * The case that this project was founded on: a model writes 80 tokens a second, and a sink does 20 writes a second. What
 * waits for the sink, what memory it takes, and how much later tokens come: with a tap, with a tap that gates, and with
 * a queue of tokens in between, after a minute.
 */
export async function slowSink(): Promise<void> {
  const placement = place();
  console.log(`The program ${placement.description}. A write takes 50 ms, one at a time.`);
  for (const [streams, tps] of loads) {
    console.log(`\n${streams} ${streams === 1 ? 'stream' : 'streams'} of ${tps} tokens/s`);
    for (const way of ways) {
      // A process of its own for each: what one has grown by is not the next one's.
      await withSystems({ placement, systems: [programOf(way)] }, async ([one]) => {
        if (one !== undefined) console.log(`${way.padEnd(7)} ${await measure(one, way, streams, tps)}`);
      });
    }
  }
}

function programOf(way: SinkWay): System {
  return {
    name: way,
    start: async (upstream, { prefix }) =>
      await listening(spawnNode(program, [way, upstream], { prefix, env: { NODE_ENV: 'production' } })),
  };
}

async function measure(one: Running, way: SinkWay, streams: number, tps: number): Promise<string> {
  const ages = new Ages();
  const model = steadyModel(tps);
  const readers = await openPaced(one, streams, opensPerSecond, { model, onToken: ages.add });
  await sleep(settleMs);
  const beginBytes = memoryOf(one.program);
  const before = await figuresOf(one);
  const stop = startCount(one);
  const measuring = ages.during(agesMs, one.placement);
  await sleep(minuteMs);
  const { tokens, us } = await measuring;
  const spent = stop();
  const after = await figuresOf(one);
  throwFailures(readers);
  const grownMiB = (memoryOf(one.program) - beginBytes) / 1_048_576;
  for (const reader of readers) reader.leave();
  const [p50, p99] = [0.5, 0.99].map((q) => (quantile(us, q) / 1000).toFixed(1));
  const columns = [
    `${p50} ms p50`,
    `${p99} ms p99 of ${tokens} tokens`,
    `${(spent.systemShare * 100).toFixed(0)} % of a core`,
    `${grownMiB.toFixed(0)} MiB more memory in ${spent.seconds.toFixed(0)} s`,
  ];
  if (way !== 'nobody') {
    const writes = (after.writes - before.writes) / spent.seconds;
    columns.push(
      `${(after.lagMs / 1000).toFixed(2)} s behind: ${after.lagRecords} records, ${(after.lagBytes / 1000).toFixed(0)} kB`,
      `${writes.toFixed(1)} writes/s, ${((after.records - before.records) / spent.seconds).toFixed(0)} records/s`,
    );
  }
  return columns.join(', ');
}

async function figuresOf({ program: { url } }: Running): Promise<SlowSinkFigures> {
  return (await (await fetch(`${url}/figures`)).json()) as SlowSinkFigures;
}
