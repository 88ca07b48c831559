import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { awsEnv } from '../packages/aws/test/support/aws-emulator.ts';
import { S3Engine } from '../packages/aws/test/support/s3-engine.ts';
import { StrictS3 } from '../packages/aws/test/support/strict-s3.ts';
import { spawnNode } from '../packages/gateway/test/support/spawn.ts';
import { type TappedEngineKind, tappedEngines } from '../packages/gateway/test/support/tapped-engine.ts';
import { hasRedis, RedisServer } from '../packages/redis/test/support/redis-server.ts';
import { measureOutage } from './engine-outage.ts';
import { HostedEngine } from './hosted-engine.ts';
import { type Placement, place } from './placement.ts';
import type { System } from './systems.ts';
import { compareTaps, tappedGateway } from './tap-comparison.ts';

/** Streams, and tokens a second of each. */
const loads = [
  [1, 80],
  [100, 80],
] as const;

/**
 * What a tap to each engine costs beside none and a file; a reader of Redis that writes into S3, beside a naive queue; and what
 * an outage of each engine comes to, with a spill. Engines run on the core of the load. Kafka, S3 and SQS are emulators: what
 * these can take says nothing of the real ones.
 */
export async function engines(isShort: boolean): Promise<void> {
  // Before any engine is started: it stays on the core on which this process is then.
  const placement = place();
  const here = tappedEngines.filter(({ isHere }) => isHere);
  for (const { isHere, name } of tappedEngines) if (!isHere) console.log(`Without ${name}: it is not here.`);
  console.log(`The gateway ${placement.description}, the engines there, too.`);
  await compare(here, placement, isShort ? 1 : 3);
  await foundingCase();
  const outageSeconds = isShort ? 10 : 60;
  console.log(`\nAn engine that is away for ${outageSeconds} s, with a spill`);
  for (const kind of here) await outage(kind, placement, outageSeconds);
}

async function compare(
  kinds: readonly TappedEngineKind[],
  placement: Placement,
  rounds: number,
): Promise<void> {
  const folder = temporaryFolder();
  const running: HostedEngine[] = [];
  try {
    const file = `to=file:${join(folder, 'tap.jsonl')},name=tap`;
    const systems: System[] = [tappedGateway('no tap', []), tappedGateway('file:', ['--tap', file])];
    for (const kind of kinds) {
      const engine = await HostedEngine.start(kind);
      running.push(engine);
      const args = configured(folder, kind.name, engine);
      systems.push(tappedGateway(kind.name, args, kind.env));
    }
    console.log(`Medians of rounds: ${rounds}, and the least and the most.`);
    await compareTaps({ placement, systems, loads, rounds, hasEngines: true });
  } finally {
    for (const engine of running) await engine.remove();
    rmSync(folder, { recursive: true });
  }
}

/** The example that the tests run, against a store with half a second in front. */
async function foundingCase(): Promise<void> {
  if (!hasRedis) return;
  console.log('\nA transcript every 250 ms, by way of Redis with MAXLEN 1000, into S3 with 500 ms a write');
  const redis = await RedisServer.start();
  const store = await StrictS3.start();
  const s3 = await S3Engine.create(store.port);
  s3.front.delayMs = 500;
  try {
    const program = fileURLToPath(new URL('../examples/07-a-slow-reader-of-redis.ts', import.meta.url));
    const command = spawnNode(program, [redis.url, s3.url, '10'], { env: awsEnv });
    if ((await command.exited) !== 0) throw new Error(command.stderr());
    console.log(command.stdout().trimEnd());
  } finally {
    await s3.remove();
    await store.close();
    await redis.remove();
  }
}

async function outage(kind: TappedEngineKind, placement: Placement, seconds: number): Promise<void> {
  const folder = temporaryFolder();
  const engine = await HostedEngine.start(kind);
  try {
    const args = configured(folder, kind.name, engine, { spill: join(folder, 'spill') });
    const system = tappedGateway(kind.name, args, kind.env);
    console.log(`${kind.name.padEnd(14)} ${await measureOutage(system, engine, placement, seconds)}`);
  } finally {
    await engine.remove();
    rmSync(folder, { recursive: true });
  }
}

/** The gateway's arguments for a tap to an engine: in a file, for its URL may have commas. */
function configured(
  folder: string,
  name: string,
  { url }: HostedEngine,
  keys: object = {},
): readonly string[] {
  const path = join(folder, `${name}.yaml`);
  const tap = { name: 'tap', to: url, deadLetters: join(folder, `${name}-dead.jsonl`), ...keys };
  writeFileSync(path, stringify({ tap: [tap] }));
  return ['--config', path];
}

function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'spillway-bench-engines-'));
}
