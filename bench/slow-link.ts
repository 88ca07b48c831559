import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openSlowNetwork, type SlowNetwork } from '../packages/gateway/test/support/slow-network.ts';
import { type Program, quantile, startGateway, startPipe, startSimulator, statsOf } from './programs.ts';

/** The characters of every token, so that a token's number follows from the text before it. */
const tokenCharacters = 9;

const links = [
  { kbits: 10, tps: 50, seconds: 20, withPipe: false },
  { kbits: 50, tps: 50, seconds: 40, withPipe: true },
  { kbits: 50, tps: 100, seconds: 20, withPipe: true },
  { kbits: 400, tps: 100, seconds: 20, withPipe: true },
  { kbits: 100_000, tps: 50, seconds: 20, withPipe: true },
] as const;

/** How old text is when it arrives behind a slow link, and when the last of it does. Takes minutes. */
export async function slowLink(): Promise<void> {
  const simulator = await startSimulator();
  for (const { kbits, seconds, tps, withPipe } of links) {
    const network = openSlowNetwork(kbits * 1000);
    try {
      const gateway = await startGateway(simulator.url, ['--host', network.address], {
        env: { SPILLWAY_API_KEYS: 'key' },
      });
      const programs: Record<string, Program> = { spillway: gateway };
      if (withPipe) programs['bare pipe'] = await startPipe(simulator.url, {}, network.address);
      for (const [name, program] of Object.entries(programs)) {
        const line = await measure(program, simulator, network, tps, seconds);
        console.log(`${`${kbits} kbit/s, ${tps} tokens/s, ${name}`.padEnd(42)} ${line}`);
      }
    } finally {
      network.close();
    }
  }
}

async function measure(
  program: Program,
  simulator: Program,
  { inside }: SlowNetwork,
  tps: number,
  seconds: number,
): Promise<string> {
  const tokens = tps * seconds;
  const model = `sim:tps=${tps},tokens=${tokens},ttft=0,size=${tokenCharacters}`;
  const client = fileURLToPath(new URL('../packages/gateway/test/support/slow-client.ts', import.meta.url));
  const [command, ...args] = [...inside, process.execPath, client, program.url, model];
  const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 64 * 1024 * 1024 });
  const { arrivals, bytes } = JSON.parse(stdout) as {
    arrivals: readonly { readonly atMs: number; readonly characters: number }[];
    bytes: number;
  };
  const stats = (await statsOf(simulator)).at(-1);
  if (stats === undefined) throw new Error('the simulator does not remember the request');
  const ages: number[] = [];
  let lastMs = 0;
  for (const { atMs, characters } of arrivals) {
    while ((ages.length + 1) * tokenCharacters <= characters) {
      ages.push(atMs - stats.startedMs - (ages.length * 1000) / tps);
      lastMs = atMs - stats.startedMs;
    }
  }
  if (ages.length !== tokens) throw new Error(`expected ${tokens} tokens, got ${ages.length}`);
  const [p50, p99] = [0.5, 0.99].map((part) => quantile(ages, part).toFixed(0));
  return (
    `last token after ${(lastMs / 1000).toFixed(1)} s of ${seconds} (${(lastMs / 1000 / seconds).toFixed(2)}), ` +
    `text is ${p50} ms old (p99 ${p99}), ${(bytes / stats.bytes).toFixed(2)} of the bytes`
  );
}
