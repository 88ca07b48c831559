import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { filledItems } from '../src/http/list-items.ts';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { eventually, startGateway } from './support/processes.ts';

const authorization = 'Bearer sk-web';

/** A provider that reports no usage, behind a gateway with a budget of 5,000 tokens. */
async function open(): Promise<{
  readonly ask: (path: string, body: object | string) => Promise<Response>;
  readonly used: (requests: number) => Promise<TenantReport['usage']['today']>;
}> {
  const choices = [{ index: 0, text: 'word '.repeat(80), message: { content: 'word '.repeat(80) } }];
  const provider = createServer((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ choices }));
    });
  });
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    provider.closeAllConnections();
    provider.close();
  });
  const url = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`;
  const gateway = await startGateway(['--upstream', url, '--tenant', 'name=clinic,tokensPerDay=5000'], {
    env: { SPILLWAY_API_KEYS: 'clinic/web=sk-web' },
  });
  return {
    ask: (path, body) =>
      fetch(gateway.url + path, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json' },
        body: typeof body === 'string' ? body : JSON.stringify({ model: 'm', ...body }),
      }),
    used: (requests) =>
      eventually(async () => {
        const response = await fetch(`${gateway.url}/usage`, { headers: { authorization } });
        const { today } = ((await response.json()) as TenantReport).usage;
        return today.requests >= requests ? today : undefined;
      }, 'the account'),
  };
}

test('each prompt of a request, and each answer to it, is reserved', async () => {
  const { ask } = await open();
  const completions = '/v1/completions';
  const allowed = { max_tokens: 1000 };
  const fitting: readonly object[] = [
    { prompt: 'one' },
    { prompt: 'It says ["one", "two", "three", "four", "five", "six"]' },
    { prompt: ['one', 'two'], n: 2 },
    // The ids of the tokens of one prompt.
    { prompt: [1, 2, 3, 4, 5, 6, 7] },
    { prompt: [[1, 2, 3, 4, 5, 6, 7]] },
  ];
  for (const body of fitting) {
    const response = await ask(completions, { ...allowed, ...body });
    expect(response.status, JSON.stringify(body)).toBe(200);
    await response.text();
  }
  const refused: readonly (readonly [string, object, number])[] = [
    [completions, { prompt: ['one', 'two', 'three', 'four', 'five', '] "six'] }, 6000],
    [completions, { prompt: [[1], [2, 3], [4], [5], [6], [7]] }, 6000],
    [completions, { prompt: ['one', 'two', 'three'], n: 2 }, 6000],
    [completions, { prompt: ['one', 'two', 'three'], n: 1, best_of: 3 }, 9000],
    [completions, { prompt: 'one', n: 6 }, 6000],
    ['/v1/chat/completions', { messages: [], n: 6 }, 6000],
  ];
  for (const [path, body, tokens] of refused) {
    const response = await ask(path, { ...allowed, ...body });
    expect(response.status, JSON.stringify(body)).toBe(429);
    expect(await response.text()).toContain(`with the ${tokens} tokens that it allows its answer`);
  }
  const twice = '{"model":"m","prompt":"one","max_tokens":1000,"prompt":["one","two"]}';
  expect((await ask(completions, twice)).status).toBe(400);
});

test('a long prompt is no reason to refuse a request', async () => {
  const { ask } = await open();
  const response = await ask('/v1/completions', { prompt: 'x'.repeat(300_000), max_tokens: 10 });
  // It is more than the limit has, and that is what is said.
  expect(response.status).toBe(429);
});

test('answers that are made and not sent are estimated like those that are', async () => {
  const { ask, used } = await open();
  await (await ask('/v1/completions', { prompt: 'one', max_tokens: 200 })).text();
  const { outputTokens } = await used(1);
  expect(outputTokens).toBeGreaterThan(200);
  await (await ask('/v1/completions', { prompt: 'one', max_tokens: 200, n: 1, best_of: 4 })).text();
  expect((await used(2)).outputTokens).toBe(5 * outputTokens);
});

test.each([
  ['"one"', 0],
  ['null', 0],
  ['{"a":["b"]}', 0],
  ['[]', 0],
  ['[ 1, 2 ]', 0],
  ['["a", "b\\"]", "c\\\\"]', 3],
  ['[[1,[2]],[],{"a":["b","c"]}]', 3],
])('the items of %s are found, wherever its pieces are cut', (json, items) => {
  const bytes = Buffer.from(json);
  for (let at = 0; at <= bytes.length; at += 1)
    expect(filledItems([bytes.subarray(0, at), bytes.subarray(at)])).toBe(items);
});
