import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Program, startGateway, startSimulator, stopAll } from './programs.ts';
import { cpuUsOf } from './usage.ts';
import { hasRedis, RedisServer } from '../packages/redis/test/support/redis-server.ts';

/** Requests of each kind that are measured, after as many that are not. */
const refusals = 2000;
const streams = 200;
const rounds = 10;
const tokens = 1000;
const stream = `gpt:tps=0,ttft=0,tokens=${tokens}`;

/** What limits cost: CPU of a refusal beside that of a stream, and of a token with limits and without; and by how much quotas are overshot. */
export async function limits(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-limits-'));
  try {
    const { held, without } = await costsOfStreams(folder);
    const refused = await costOfRefusals(folder, 'requests: 1/min');
    // A budget that no request fits into: nothing is remembered, so each is read and asks the store.
    const asked = await costOfRefusals(folder, 'tokensPerDay: 256');
    const nothing = await costOfNothing();
    console.log(
      `CPU of a token: ${(without / tokens).toFixed(2)} µs without limits, ${(held / tokens).toFixed(2)} µs with (×${(held / without).toFixed(3)}); of a stream of ` +
        `${tokens} tokens ${without.toFixed(0)} and ${held.toFixed(0)} µs; of a refusal ${refused.toFixed(0)} µs (×${(refused / held).toFixed(3)} of a stream), of one by the store ${asked.toFixed(0)} µs, of a 404 ${nothing.toFixed(0)} µs`,
    );
    for (const limit of [2000, 10_000, 50_000]) console.log(await overshoot(folder, limit));
    if (hasRedis) console.log(await callsOfRedis(folder));
  } finally {
    await stopAll();
    rmSync(folder, { recursive: true });
  }
}

async function start(folder: string, limit: string | undefined): Promise<Program> {
  const simulator = await startSimulator();
  if (limit === undefined) return await startGateway(simulator.url);
  const config = join(folder, 'spillway.yaml');
  writeFileSync(config, `tenant:\n  - name: '*'\n    ${limit}\n`);
  return await startGateway(simulator.url, ['--config', config]);
}

async function ask({ url }: Program, model: string): Promise<string> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'Hello' }] }),
  });
  return await response.text();
}

function cpuOf({ command }: Program): number {
  return cpuUsOf(command.process.pid ?? 0);
}

/** Microseconds of CPU of the gateway for each of `count` requests, one after the other. */
async function costOf(gateway: Program, count: number, model: string): Promise<number> {
  for (let at = 0; at < count; at += 1) await ask(gateway, model);
  const before = cpuOf(gateway);
  for (let at = 0; at < count; at += 1) await ask(gateway, model);
  return (cpuOf(gateway) - before) / count;
}

/** A stream without limits, and one with them. In turns: a machine that others use is not as fast now as before. */
async function costsOfStreams(folder: string): Promise<{ without: number; held: number }> {
  const limit = 'tokensPerDay: 1000000000\n    requests: 100000/s\n    streams: 100000';
  const costs = [0, 0];
  const gateways = [await start(folder, undefined), await start(folder, limit)];
  for (let round = 0; round < rounds; round += 1)
    for (const [index, gateway] of gateways.entries())
      costs[index] = (costs[index] ?? 0) + (await costOf(gateway, streams / rounds, stream)) / rounds;
  await stopAll();
  const [without = 0, held = 0] = costs;
  return { without, held };
}

async function costOfRefusals(folder: string, limit: string): Promise<number> {
  const gateway = await start(folder, limit);
  const cost = await costOf(gateway, refusals, stream);
  await stopAll();
  return cost;
}

/** What the same request costs where there is nothing: what HTTP, and an error, cost by themselves. */
async function costOfNothing(): Promise<number> {
  const gateway = await start('', undefined);
  const cost = await costOf({ ...gateway, url: `${gateway.url}/nothing` }, refusals, stream);
  await stopAll();
  return cost;
}

/** What a Redis is asked for one stream, and in how much of its time. */
async function callsOfRedis(folder: string): Promise<string> {
  const redis = await RedisServer.start();
  try {
    const day = 'tokensPerDay: 1000000000\n    requests: 100000/s\n    streams: 1000\n';
    const gateway = await start(folder, `${day}limitStore: ${redis.url}`);
    const count = async (): Promise<{ calls: number; us: number }> => {
      const text = String(await redis.command('INFO', 'commandstats'));
      const [, calls, us] = /cmdstat_evalsha:calls=(\d+),usec=(\d+)/.exec(text) ?? [];
      return { calls: Number(calls ?? 0), us: Number(us ?? 0) };
    };
    const parts: string[] = [];
    for (const length of [100, 1000, 10_000]) {
      const model = `gpt:tps=0,ttft=0,tokens=${length}`;
      await ask(gateway, model);
      const before = await count();
      for (let at = 0; at < 20; at += 1) await ask(gateway, model);
      const after = await count();
      const calls = (after.calls - before.calls) / 20;
      parts.push(
        `${calls.toFixed(1)} for ${length} tokens (${((after.us - before.us) / 20).toFixed(0)} µs of it)`,
      );
    }
    return `calls of Redis by a stream: ${parts.join(', ')}`;
  } finally {
    await stopAll();
    await redis.remove();
  }
}

/** Many streams at once until a quota is used up. */
async function overshoot(folder: string, limit: number): Promise<string> {
  const gateway = await start(folder, `tokensPerDay: ${limit}`);
  const model = 'gpt:tps=500,ttft=0,tokens=20000';
  await Promise.all(Array.from({ length: 8 }, () => ask(gateway, model)));
  const text = await ask(gateway, model);
  await stopAll();
  const used = Number(/has used (\d+) of/.exec(text)?.[1]);
  return `8 streams at once and a quota of ${limit} tokens: ${used} used (${(((used - limit) / limit) * 100).toFixed(2)} %)`;
}
