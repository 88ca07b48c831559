import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openSlowNetwork, type SlowNetwork } from '../../packages/gateway/test/support/slow-network.ts';
import type { Metric } from '../figures.ts';
import { type LongReply, longReply } from '../load/recorded.ts';
import { type Program, quantile, startSimulator, statsOf, stopAll } from '../programs.ts';
import { spillway, type System } from '../systems.ts';
import type { Bench } from '../workload.ts';

const links = [
  { kbits: 50, tps: 50, tokens: 2000, of: (): boolean => true },
  { kbits: 400, tps: 100, tokens: 2000, of: (): boolean => true },
  // Everybody else takes minutes for it.
  { kbits: 10, tps: 50, tokens: 1000, of: ({ name }: System): boolean => name === spillway },
] as const;

const client = fileURLToPath(new URL('../../packages/gateway/test/support/slow-client.ts', import.meta.url));

const last: Metric = { name: 'last token after', unit: 's', digits: 1, isHeadline: true };
const part: Metric = { name: 'of the generation', unit: 'times', digits: 2, hasRatio: false };
const p50: Metric = { name: 'age of text p50', unit: 's', digits: 2, hasRatio: false };
const p99: Metric = { name: 'p99', unit: 's', digits: 2, hasRatio: false };
const wire: Metric = { name: 'bytes', unit: 'kB', digits: 0 };

/** Readers behind slow links, each behind one of its own, all at the same time. Needs Linux, root and iproute2. */
export async function slowLinks(bench: Bench): Promise<void> {
  if (process.getuid?.() !== 0) {
    console.error('  W4 needs root, to make networks that are slow');
    return;
  }
  for (const { kbits, of, tokens, tps } of links) {
    const reply = longReply(tokens);
    const name = `${kbits} kbit/s, ${tokens} tokens at ${tps} a second`;
    console.error(`  ${name}: ${reply.description} …`);
    const networks: SlowNetwork[] = [];
    try {
      const simulator = await startSimulator(reply.args);
      const measured = bench.systems.filter(of).map(async (system, index) => {
        const network = openSlowNetwork(kbits * 1000, index);
        networks.push(network);
        const program = await system.start(simulator.url, {
          prefix: bench.placement.system,
          host: network.address,
        });
        await measure(bench, name, { system, program, simulator, network, reply, index, tps });
      });
      await Promise.all(measured);
    } finally {
      await stopAll();
      for (const network of networks) network.close();
    }
  }
}

interface Path {
  readonly system: System;
  readonly program: Program;
  readonly simulator: Program;
  readonly network: SlowNetwork;
  readonly reply: LongReply;
  readonly index: number;
  readonly tps: number;
}

async function measure(
  { figures }: Bench,
  name: string,
  { index, network, program, reply, simulator, system, tps }: Path,
): Promise<void> {
  const model = `reader-${index}:${reply.behaviour},tps=${tps},ttft=0`;
  const headers = JSON.stringify(system.headers?.(simulator.url) ?? {});
  const [command, ...args] = [...network.inside, process.execPath, client, program.url, model, headers];
  const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 64 * 1024 * 1024 });
  const { arrivals, bytes, text } = JSON.parse(stdout) as {
    arrivals: readonly { readonly atMs: number; readonly characters: number }[];
    bytes: number;
    text: string;
  };
  if (text !== reply.text) throw new Error(`${system.name}: the text that came is not the one that was sent`);
  const stats = (await statsOf(simulator)).find((request) => request.model === model);
  if (stats === undefined) throw new Error('the simulator does not remember the request');
  const agesMs: number[] = [];
  let [expected, lastMs] = [0, 0];
  for (const { atMs, characters } of arrivals) {
    for (;;) {
      const length = reply.lengths[agesMs.length];
      if (length === undefined || expected + length > characters) break;
      expected += length;
      lastMs = atMs - stats.startedMs;
      agesMs.push(lastMs - (agesMs.length * 1000) / tps);
    }
  }
  figures.add(name, system.name, last, lastMs / 1000);
  figures.add(name, system.name, part, lastMs / ((reply.lengths.length * 1000) / tps));
  figures.add(name, system.name, p50, quantile(agesMs, 0.5) / 1000);
  figures.add(name, system.name, p99, quantile(agesMs, 0.99) / 1000);
  figures.add(name, system.name, wire, bytes / 1000);
}
