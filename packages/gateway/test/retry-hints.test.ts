import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type AnsweringProvider, type Gateway, openAnsweringProvider } from './support/answering-provider.ts';
import {
  askings,
  type Asking,
  hints,
  refuse,
  seen,
  sendEvents,
  type Spelling,
  spellings,
} from './support/refusals.ts';

let provider: AnsweringProvider;
let gateway: Gateway;
let retrying: Gateway;

beforeAll(async () => {
  provider = await openAnsweringProvider();
  gateway = await provider.openGateway(['--max-event-bytes', '65536']);
  retrying = await provider.openGateway(['--max-event-bytes', '65536', '--retries', '2']);
});

afterAll(() => provider.close());

const soon = { 'retry-after-ms': '1' } as const;
const busy = { status: 429, headers: soon } as const;
const [plain] = spellings as [Spelling];
const [chat] = askings as [Asking];
const quotaBody = '{"error":{"message":"quota","type":"insufficient_quota","code":"insufficient_quota"}}';
const quota: Spelling = {
  name: 'quota',
  contentType: 'application/json',
  body: quotaBody,
};

/** What a provider says each time that it is asked, and how often it then is asked: alone, and through the gateway. */
const refusedHow: readonly {
  readonly name: string;
  readonly answer: (response: ServerResponse) => void;
  /** By the SDKs of OpenAI and Anthropic, which try three times; then Google's, which does not. */
  readonly requests: readonly [direct: number, through: number, google: number];
  /** With `retries: 2`. */
  readonly retrying: number;
}[] = [
  { name: '400', answer: (r) => refuse(r, plain, { status: 400 }), requests: [1, 1, 1], retrying: 1 },
  {
    name: '408',
    answer: (r) => refuse(r, plain, { ...busy, status: 408 }),
    requests: [3, 3, 1],
    retrying: 1,
  },
  {
    name: '409',
    answer: (r) => refuse(r, plain, { ...busy, status: 409 }),
    requests: [3, 3, 1],
    retrying: 1,
  },
  { name: '422', answer: (r) => refuse(r, plain), requests: [1, 1, 1], retrying: 1 },
  { name: '429', answer: (r) => refuse(r, plain, busy), requests: [3, 3, 1], retrying: 3 },
  {
    name: '429, without a hint',
    answer: (r) => refuse(r, plain, { status: 429 }),
    requests: [3, 3, 1],
    retrying: 3,
  },
  {
    name: '429, x-should-retry: false',
    answer: (r) => refuse(r, plain, { status: 429, headers: { ...soon, 'x-should-retry': 'false' } }),
    requests: [1, 1, 1],
    retrying: 1,
  },
  {
    name: '429, a fraction of a second',
    answer: (r) => refuse(r, plain, { status: 429, headers: { 'retry-after': '0.01' } }),
    requests: [3, 3, 1],
    retrying: 3,
  },
  {
    name: '429, a date that has passed',
    answer: (r) =>
      refuse(r, plain, { status: 429, headers: { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' } }),
    requests: [3, 3, 1],
    retrying: 3,
  },
  { name: '429, a spent quota', answer: (r) => refuse(r, quota, busy), requests: [3, 3, 1], retrying: 1 },
  {
    name: '500',
    answer: (r) => refuse(r, plain, { ...busy, status: 500 }),
    requests: [3, 3, 1],
    retrying: 1,
  },
  {
    name: '503',
    answer: (r) => refuse(r, plain, { ...busy, status: 503 }),
    requests: [3, 3, 1],
    retrying: 3,
  },
  {
    name: '529',
    answer: (r) => refuse(r, plain, { ...busy, status: 529 }),
    requests: [3, 3, 1],
    retrying: 1,
  },
  {
    name: '400, x-should-retry: true',
    answer: (r) => refuse(r, plain, { status: 400, headers: { ...soon, 'x-should-retry': 'true' } }),
    requests: [3, 3, 1],
    retrying: 1,
  },
  { name: 'no answer', answer: (r) => r.destroy(), requests: [3, 3, 1], retrying: 1 },
  { name: 'half a refusal', answer: halfARefusal, requests: [3, 3, 1], retrying: 3 },
  { name: 'HTML with 200', answer: htmlWith200, requests: [1, 1, 1], retrying: 1 },
  {
    name: 'an end before the first event',
    answer: (r) => sendEvents(r, ''),
    requests: [1, 1, 1],
    retrying: 1,
  },
  {
    name: 'an event that is too large',
    answer: (r) => sendEvents(r, `data: ${'x'.repeat(100_000)}`),
    requests: [1, 1, 1],
    retrying: 1,
  },
];

function halfARefusal(response: ServerResponse): void {
  response.writeHead(503, { ...soon, 'content-type': 'application/json', 'content-length': 999 });
  response.write('{"error":', () => response.destroy());
}

function htmlWith200(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/html' }).end('<html></html>');
}

describe.concurrent.each(askings)('1.5 requests at the provider for one of $name', (asking) => {
  test.each(refusedHow)('refused by $name', async ({ answer, requests, retrying: most }) => {
    const [direct, through, google] = asking.name === 'gemini' ? [1, 1, 1] : requests;
    expect(google).toBe(1);
    expect(through).toBeLessThanOrEqual(direct);
    const counts = [provider.url, gateway.url, retrying.url].map(
      async (url) => (await provider.outcome(url, asking, true, answer)).requests,
    );
    expect(await Promise.all(counts)).toEqual([direct, through, most]);
  });
});

describe('1.5 a provider that is busy is asked again as it says', () => {
  const inAnHour = new Date(Date.now() + 3_600_000).toUTCString();
  test.each<[Record<string, string>, number]>([
    [{}, 3],
    [{ 'retry-after': '0' }, 3],
    [{ 'retry-after': '0.01' }, 3],
    [{ 'retry-after': 'soon' }, 3],
    [{ 'retry-after': new Date(0).toUTCString() }, 3],
    [{ 'retry-after-ms': '5' }, 3],
    [{ 'retry-after-ms': '5', 'retry-after': '60' }, 3],
    [{ 'retry-after-ms': 'soon', 'retry-after': '0' }, 3],
    [{ 'x-should-retry': 'true' }, 3],
    [{ 'x-should-retry': 'false' }, 1],
    [{ 'x-should-retry': 'false', 'retry-after': '0' }, 1],
    [{ 'retry-after': '10.5' }, 1],
    [{ 'retry-after': '60' }, 1],
    [{ 'retry-after': inAnHour }, 1],
    [{ 'retry-after-ms': '10001' }, 1],
  ])('%j', async (headers, requests) => {
    for (const path of ['/v1/chat/completions', '/v1/embeddings']) {
      const name = provider.answer((response) => refuse(response, plain, { status: 503, headers }));
      const answer = await fetch(retrying.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-case': name },
        body: '{"model":"m","messages":[]}',
      });
      expect(provider.requestsOf(name)).toBe(requests);
      expect(answer.status).toBe(503);
      // Whoever asked must not ask again: it was asked for.
      expect(answer.headers.get('x-should-retry')).toBe('false');
      expect(answer.headers.get('retry-after')).toBe(headers['retry-after'] ?? null);
      expect(await answer.text()).toBe(plain.body);
    }
  });

  test.each([
    ['gzip', quotaBody],
    ['br', quotaBody],
    // What it becomes is far more than what is looked at; it may not even be whole.
    ['gzip', `${quotaBody}${' '.repeat(2_000_000)}`],
    ['br', `${quotaBody}${' '.repeat(2_000_000)}`],
    ['gzip', `${quotaBody}${randomBytes(200_000).toString('hex')}`],
  ])('a quota that is spent is known in %s', async (encoding, text) => {
    const pack = encoding === 'gzip' ? gzipSync : brotliCompressSync;
    const body = pack(Buffer.from(text));
    const requests = await provider.outcome(retrying.url, chat, true, (response) =>
      refuse(response, { ...quota, body, encoding }, busy),
    );
    expect(requests.requests).toBe(1);
  });
});

test('a list of models that is refused is asked for as often as without a gateway', async () => {
  for (const [status, requests] of [
    [200, 1],
    [401, 1],
    [429, 1],
  ] as const) {
    let asked = 0;
    const server = createServer((_, response) => {
      asked += 1;
      refuse(response, plain, { status, headers: { ...hints, 'x-should-retry': 'false' } });
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { url: through } = await provider.openGateway([], `${url}/v1`);
    const list = async (baseURL: string): Promise<unknown> =>
      seen(await new OpenAI({ baseURL, apiKey: 'k' }).models.list().catch((error: unknown) => error));
    const direct = await list(`${url}/v1`);
    expect(asked).toBe(requests);
    const told = await list(`${through}/v1`);
    expect(asked).toBe(2 * requests);
    // Only an error can be the same: a page of models is what was answered.
    if (status >= 400) expect(told).toEqual(direct);
  }
});
