import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import {
  memoryOf,
  metricOf,
  type Program,
  quantile,
  startGateway,
  startSimulator,
  stopAll,
} from './programs.ts';

/** The first tokens come at once, and are not measured. */
const settleMs = 1000;
const measuredMs = 10_000;
/** A provider at full speed: it always has more than is read. */
const model = 'gpt:tps=100000,ttft=0,tokens=20000';
/** Streams of one tenant at once. */
const sharing = 3;

/**
 * How even a paced stream is, through the official SDK from a provider at full speed: the rate and the time between two
 * tokens, at 5, 20 and 80 tokens a second; and how streams share the pace of a tenant.
 */
export async function paces(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-paces-'));
  try {
    for (const rate of [5, 20, 80]) await measure(folder, rate, `answerTokensPerSecond: ${rate}`, 1);
    await measure(folder, 60, 'tokensPerSecond: 60', sharing);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function measure(folder: string, rate: number, limit: string, streams: number): Promise<void> {
  const config = join(folder, 'spillway.yaml');
  writeFileSync(config, `tenant:\n  - name: '*'\n    ${limit}\n`);
  const simulator = await startSimulator();
  const gateway = await startGateway(simulator.url, ['--config', config]);
  const readers = Array.from({ length: streams }, () => readTokens(gateway));
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  const memoryBefore = memoryOf(gateway);
  const times = await Promise.all(readers);
  const grownKiB = (memoryOf(gateway) - memoryBefore) / 1024;
  const stallS = await metricOf(gateway, 'spillway_stall_seconds_total{cause="limit"}');
  const counts = times.map(({ length }) => length);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const rateNow = (total * 1000) / measuredMs;
  const gaps = times.flatMap((each) => each.slice(1).map((atMs, index) => atMs - (each[index] ?? 0)));
  const [p1, p50, p99, max] = [0.01, 0.5, 0.99, 1].map((part) => quantile(gaps, part).toFixed(1));
  console.log(
    `${limit}, ${streams} at once: ${rateNow.toFixed(2)} tokens/s (${((rateNow / rate - 1) * 100).toFixed(1)} %)` +
      `, gap p1 ${p1}, p50 ${p50}, p99 ${p99}, max ${max} ms, even would be ${((1000 * streams) / rate).toFixed(1)}` +
      `; tokens of each ${counts.join(', ')}; waited for the limit ${stallS.toFixed(1)} s; grown by ${grownKiB.toFixed(0)} KiB`,
  );
  await stopAll();
}

/** Reads an answer with the official SDK. Returns when each token came in the time that is measured. */
async function readTokens({ url }: Program): Promise<number[]> {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
  const stream = await client.chat.completions.create({
    model,
    stream: true,
    messages: [{ role: 'user', content: 'Hello' }],
  });
  const times: number[] = [];
  let firstMs: number | undefined;
  for await (const { choices } of stream) {
    if ((choices[0]?.delta.content ?? '') === '') continue;
    const nowMs = performance.now();
    firstMs ??= nowMs;
    if (nowMs > firstMs + settleMs + measuredMs) break;
    if (nowMs > firstMs + settleMs) times.push(nowMs);
  }
  stream.controller.abort();
  return times;
}
