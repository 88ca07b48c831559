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

const geminiPath = '/v1beta/models/sim:streamGenerateContent?alt=sse';
const openai = 'x-ratelimit-#-requests';
const anthropic = 'anthropic-ratelimit-requests-#';

test.each([
  ['/v1/chat/completions', 429, { error: { type: 'requests', code: 'rate_limit_exceeded' } }],
  ['/v1/responses', 503, { error: { type: 'server_error' } }],
  ['/v1/messages', 429, { type: 'error', error: { type: 'rate_limit_error' } }],
  ['/v1/messages', 529, { type: 'error', error: { type: 'overloaded_error' } }],
  [geminiPath, 429, { error: { code: 429, status: 'RESOURCE_EXHAUSTED' } }],
  [geminiPath, 503, { error: { code: 503, status: 'UNAVAILABLE' } }],
])('%s refuses as its API does, with %i', async (path, status, error) => {
  const url = await start({ most: 0, status, retryAfter: 90 });
  const response = await post(url, path);
  expect([response.status, response.headers.get('retry-after')]).toEqual([status, '90']);
  expect(await response.json()).toMatchObject(error);
});

test.each([
  ['/v1/chat/completions', openai, ['30s', /^59\.\d+s$|^1m0s$/]],
  ['/v1/responses', openai, ['30s', /^59\.\d+s$|^1m0s$/]],
  ['/v1/messages', anthropic, [30, 60]],
  [geminiPath, openai, [null, null]],
  [geminiPath, anthropic, [null, null]],
] as const)('%s says what is left of a minute, as %s (%#)', async (path, name, resets) => {
  const url = await start({ perMinute: 2 });
  const isThere = resets[0] !== null;
  for (const [index, reset] of resets.entries()) {
    const { headers, status } = await post(url, path);
    expect(status).toBe(200);
    const [limit, remaining, got] = ['limit', 'remaining', 'reset'].map((part) =>
      headers.get(name.replace('#', part)),
    );
    expect([limit, remaining]).toEqual(isThere ? ['2', String(1 - index)] : [null, null]);
    if (typeof reset === 'number') {
      expect(got).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(Math.abs(Date.parse(got ?? '') - Date.now() - reset * 1000)).toBeLessThan(10_000);
    } else if (reset instanceof RegExp) {
      expect(got).toMatch(reset);
    } else {
      expect(got).toBe(reset);
    }
  }
  const refused = await post(url, path);
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '30']);
});

test('the requests of a minute come back one by one', async () => {
  const url = await start({ perMinute: 600 });
  const answers = await Promise.all(Array.from({ length: 700 }, () => post(url, '/v1/chat/completions')));
  expect(answers.filter(({ status }) => status === 429).length).toBeGreaterThan(0);
  await eventually(async () => (await post(url, '/v1/chat/completions')).status === 200, 'one to come back');
});

function post(url: string, path: string): Promise<Response> {
  const body = JSON.stringify({ model: 'sim:tokens=1,ttft=0', stream: true, messages: [], input: 'Hello' });
  return fetch(url + path.replace('sim:', 'sim:tokens=1,ttft=0:'), { method: 'POST', body });
}

test('a capacity changes while streams run: a brown-out, none at all, and back', async () => {
  const url = await start({ places: 1 });
  const response = await postChat(url, 'sim:ttft=0,tps=5,tokens=6');
  const reader = response.body?.getReader();
  await reader?.read();
  const firstMs = performance.now();
  await setCapacity(url, { places: 1, slow: 4 });
  while ((await reader?.read())?.done === false);
  // Five tokens, each 0.2 s behind the one before, and 0.8 s from then on: more than a second by one of them.
  expect(performance.now() - firstMs).toBeGreaterThan(1300);
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
