import { expect, onTestFinished, test } from 'vitest';
import { readCapacity } from '../src/simulate/capacity.ts';
import { openSimulator } from '../src/simulate/simulator.ts';
import { type CapacityReport, capacityOf, setCapacity } from './support/capacity.ts';
import { eventually, run } from './support/processes.ts';
import { payloads, postChat, simulatorStats } from './support/requests.ts';

async function start(...capacities: readonly object[]): Promise<string> {
  const given = capacities.map(readCapacity);
  const simulator = await openSimulator({ host: '127.0.0.1', port: 0, capacities: given });
  onTestFinished(() => simulator.close());
  return simulator.url;
}

/** Milliseconds of a whole stream. */
async function timed(url: string, model: string): Promise<number> {
  const startedMs = performance.now();
  expect(payloads(await (await postChat(url, model)).text()).at(-1)).toBe('[DONE]');
  return performance.now() - startedMs;
}

/** Streams that stay until the test ends, or until they are left. */
async function occupy(url: string, count: number, model = 'sim'): Promise<AbortController> {
  const left = new AbortController();
  onTestFinished(() => left.abort());
  const name = `${model}:stall=1,ttft=0`;
  await Promise.all(Array.from({ length: count }, () => postChat(url, name, { signal: left.signal })));
  return left;
}

async function takenAt(url: string, taken: number): Promise<CapacityReport> {
  return await eventually(async () => {
    const report = await capacityOf(url);
    return report.taken === taken && report;
  }, `${taken} to be taken`);
}

test('streams beyond the places share the tokens of a second, and their first tokens are later', async () => {
  const url = await start({ places: 1 });
  // Alone: 200 ms.
  const model = 'sim:ttft=100,tps=200,tokens=21';
  const times = await Promise.all(Array.from({ length: 4 }, () => timed(url, model)));
  // The last to come waits four times as long for its first token; all together take 80 turns of 5 ms, one behind the other.
  expect(Math.max(...times)).toBeGreaterThan(450);
  await takenAt(url, 0);
});

test('what is beyond the second bound is refused, until a reader leaves', async () => {
  const url = await start({ places: 1, most: 2, retryAfter: 7 });
  const left = await occupy(url, 2);
  expect(await takenAt(url, 2)).toEqual({
    taken: 2,
    capacities: [{ places: 1, most: 2, status: 429, retryAfter: 7, slow: 1, taken: 2 }],
  });
  expect((await postChat(url, 'sim')).status).toBe(429);
  expect((await simulatorStats(url)).map(({ state }) => state)).toEqual(['stalled', 'stalled', 'refused']);
  left.abort();
  await takenAt(url, 0);
  expect(await timed(url, 'sim:tokens=2,ttft=0')).toBeGreaterThan(0);
});

const openai = { authorization: 'Bearer k' };
const anthropic = { 'x-api-key': 'k', 'anthropic-version': '2023-06-01' };
const gemini = { 'x-goog-api-key': 'k' };
const geminiPath = '/v1beta/models/sim:streamGenerateContent?alt=sse';

test.each([
  ['/v1/chat/completions', openai, 429, { error: { type: 'requests', code: 'rate_limit_exceeded' } }],
  ['/v1/responses', openai, 503, { error: { type: 'server_error' } }],
  ['/v1/messages', anthropic, 429, { type: 'error', error: { type: 'rate_limit_error' } }],
  ['/v1/messages', anthropic, 529, { type: 'error', error: { type: 'overloaded_error' } }],
  [geminiPath, gemini, 429, { error: { code: 429, status: 'RESOURCE_EXHAUSTED' } }],
  [geminiPath, gemini, 503, { error: { code: 503, status: 'UNAVAILABLE' } }],
])(
  '%s refuses as its API does, and says what it would still take (%#)',
  async (path, headers, status, error) => {
    const url = await start({ most: 2, status, retryAfter: 90 });
    const ask = async (): Promise<Response> => {
      const body = JSON.stringify({
        model: 'sim:stall=1,ttft=0',
        stream: true,
        messages: [],
        input: 'Hello',
      });
      const sent = { 'content-type': 'application/json', ...headers };
      const left = new AbortController();
      onTestFinished(() => left.abort());
      return await fetch(url + path.replace('sim:', 'sim:stall=1,ttft=0:'), {
        method: 'POST',
        headers: sent,
        body,
        signal: left.signal,
      });
    };
    const rest = async (): Promise<unknown> => {
      const { headers: got } = await ask();
      if (headers === openai) {
        const names = ['limit', 'remaining', 'reset'].map((part) => `x-ratelimit-${part}-requests`);
        return names.map((name) => got.get(name));
      }
      const [limit, remaining, reset] = ['limit', 'remaining', 'reset'].map((part) =>
        got.get(`anthropic-ratelimit-requests-${part}`),
      );
      if (typeof reset === 'string') {
        expect(reset).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
        expect(Math.abs(Date.parse(reset) - Date.now() - 90_000)).toBeLessThan(10_000);
      }
      return [limit, remaining, headers === gemini ? reset : '1m30s'];
    };
    const none = headers === gemini;
    expect(await rest()).toEqual(none ? [null, null, null] : ['2', '1', '1m30s']);
    expect(await rest()).toEqual(none ? [null, null, null] : ['2', '0', '1m30s']);
    const refused = await ask();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([status, '90']);
    expect(await refused.json()).toMatchObject(error);
  },
);

test('a capacity changes while streams run: a brown-out, none at all, and back', async () => {
  const url = await start({ places: 1 });
  const response = await postChat(url, 'sim:ttft=300,tps=100,tokens=6');
  await setCapacity(url, { places: 1, slow: 10 });
  const reader = response.body?.getReader();
  await reader?.read();
  const firstMs = performance.now();
  while ((await reader?.read())?.done === false);
  expect(performance.now() - firstMs).toBeGreaterThan(400);
  await setCapacity(url, { most: 0, status: 503 });
  expect((await postChat(url, 'sim')).status).toBe(503);
  await setCapacity(url, {});
  await occupy(url, 3);
  expect((await postChat(url, 'sim:tokens=2,ttft=0')).status).toBe(200);
});

test('a model has a capacity of its own, whatever its behaviour', async () => {
  const url = await start({ most: 3 }, { model: 'gpt', most: 1 });
  await occupy(url, 1, 'gpt');
  expect((await postChat(url, 'gpt:tokens=1')).status).toBe(429);
  await occupy(url, 2, 'other');
  expect((await postChat(url, 'other')).status).toBe(429);
  const { capacities } = await takenAt(url, 3);
  expect(capacities.map(({ model, taken }) => [model, taken])).toEqual([
    [undefined, 3],
    ['gpt', 1],
  ]);
});

test.each([
  [{ places: 0 }, 'places: Too small'],
  [{ most: 'many' }, 'most: Invalid input'],
  [{ status: 200 }, 'status: Too small'],
  [{ slow: 0.5 }, 'slow: Too small'],
  [{ speed: 1 }, 'speed: no such part of a capacity; expected model, places, most'],
])('%o is no capacity', async (capacity, words) => {
  const url = await start();
  const response = await fetch(`${url}/simulate/capacity`, {
    method: 'POST',
    body: JSON.stringify(capacity),
  });
  expect(response.status).toBe(400);
  const { error } = (await response.json()) as { error: { message: string } };
  expect(error.message).toContain(words);
  const text = Object.entries(capacity).map(([name, value]) => `${name}=${value}`);
  const command = run(['simulate', '--port', '0', '--capacity', text.join()]);
  expect(await command.exited).toBe(2);
  expect(command.stderr()).toContain(`--capacity: ${words}`);
});

test('the command takes capacities', async () => {
  const command = run([
    'simulate',
    '--port',
    '0',
    '--capacity',
    'places=2,most=3',
    '--capacity',
    'model=m,most=0',
  ]);
  const [, url = ''] = await eventually(
    () => /Simulated provider on (\S+)\/v1/.exec(command.stdout()) ?? undefined,
    'it to listen',
  );
  expect((await capacityOf(url)).capacities).toHaveLength(2);
  expect((await postChat(url, 'm:tokens=1')).status).toBe(429);
});
