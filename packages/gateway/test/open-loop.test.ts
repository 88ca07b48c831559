import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { openSimulator } from '../src/simulate/simulator.ts';
import { isGood, type Planned, poisson, runLoad } from './support/open-loop.ts';

const asker = { name: 'a', model: 'sim:ttft=0,tps=0,tokens=3' } as const;

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function simulator(): Promise<string> {
  const opened = await openSimulator({ host: '127.0.0.1', port: 0 });
  onTestFinished(() => opened.close());
  return opened.url;
}

const at = (times: readonly number[], model: string = asker.model): Planned[] =>
  times.map((atMs) => ({ atMs, asker: { ...asker, model } }));

const streamed = 'data: {"delta":{"content":"a"}}\n\ndata: {"delta":{"content":"b"}}\n\ndata: [DONE]\n\n';

test('arrivals are those of a Poisson process, the same for the same seed', () => {
  const options = { perSecond: 200, durationMs: 50_000, fromMs: 1000, seed: 3 };
  const times = poisson(asker, options).map(({ atMs }) => atMs);
  expect(poisson(asker, options).map(({ atMs }) => atMs)).toEqual(times);
  expect(poisson(asker, { ...options, seed: 4 }).map(({ atMs }) => atMs)).not.toEqual(times);
  expect(Math.min(...times)).toBeGreaterThanOrEqual(1000);
  expect(Math.max(...times)).toBeLessThan(51_000);
  expect(Math.abs(times.length - 10_000)).toBeLessThan(400);
  // The time between two has a standard deviation as large as its mean.
  const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - 5) ** 2, 0) / gaps.length);
  expect(Math.abs(deviation - 5)).toBeLessThan(0.5);
});

test('requests are sent when their time has come, although nobody answers', async () => {
  let most = 0;
  const held: ServerResponse[] = [];
  const url = await serve((_request, response) => {
    held.push(response);
    most = Math.max(most, held.length);
    if (most === 5) for (const each of held.splice(0)) each.end(streamed);
  });
  const records = await runLoad(at([0, 5, 10, 15, 20]), { url, patienceMs: 3000 });
  expect(most).toBe(5);
  expect(records.map(({ end, tokens }) => [end, tokens])).toEqual(records.map(() => ['completed', 2]));
});

test('latencies count from the intended time, also where the one that measures was late', async () => {
  const url = await serve((_request, response) => response.end(streamed));
  const load = runLoad(at([0, 100, 110, 120]), { url });
  await sleep(50);
  const untilMs = performance.now() + 250;
  while (performance.now() < untilMs);
  const late = (await load).slice(1);
  for (const { firstTokenMs = 0, intendedMs, sentMs } of late) {
    expect(sentMs - intendedMs).toBeGreaterThan(150);
    expect(firstTokenMs - intendedMs).toBeGreaterThan(150);
  }
  expect(late.map((record) => isGood(record, 150))).toEqual([false, false, false]);
  expect(late.map((record) => isGood(record, 60_000))).toEqual([true, true, true]);
});

test('tokens are counted wherever the bytes are cut', async () => {
  const url = await simulator();
  const records = await runLoad(at([0, 0, 0], 'sim:ttft=0,tps=0,tokens=7,split=3'), { url });
  expect(records.map(({ end, status, tokens }) => [end, status, tokens])).toEqual(
    records.map(() => ['completed', 200, 7]),
  );
  expect(records).toHaveLength(3);
});

test.each([
  ['sim:status=429,retryAfter=7', { end: 'refused', status: 429, retryAfterS: 7, tokens: 0 }],
  ['sim:status=500', { end: 'failed', status: 500, retryAfterS: undefined }],
  ['sim:hangup', { end: 'failed', status: undefined }],
  ['sim:ttft=0,tps=0,cut=2000', { end: 'failed', status: 200 }],
  ['sim:ttft=0,tps=0,error=3', { end: 'failed', status: 200, tokens: 3 }],
  ['sim:ttft=0,tps=0,unmarked,tokens=3', { end: 'failed', status: 200, tokens: 3 }],
])('%s', async (model, expected) => {
  const records = await runLoad(at([0], model), { url: await simulator() });
  expect(records).toEqual([expect.objectContaining(expected)]);
});

test('a reader leaves when it has enough, or when nothing comes', async () => {
  const url = await simulator();
  const enough = await runLoad(at([0], 'sim:ttft=0,tps=100,tokens=1000'), { url, leaveAfterTokens: 3 });
  expect(enough).toEqual([expect.objectContaining({ end: 'left', status: 200 })]);
  expect(enough[0]?.tokens).toBeGreaterThanOrEqual(3);
  expect(enough[0]?.tokens).toBeLessThan(1000);
  const stalled = await runLoad(at([0], 'sim:ttft=0,tps=0,stall=2'), { url, patienceMs: 3000 });
  expect(stalled).toEqual([expect.objectContaining({ end: 'left', status: 200, tokens: 2 })]);
  const silent = await runLoad(at([0], 'sim:headers=60000'), { url, patienceMs: 100 });
  expect(silent).toEqual([expect.objectContaining({ end: 'left', status: undefined })]);
});
