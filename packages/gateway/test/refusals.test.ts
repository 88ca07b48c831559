import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AnsweringProvider, openAnsweringProvider } from './support/answering-provider.ts';
import { askings, type Asking, hints, refuse, seen, type Spelling, spellings } from './support/refusals.ts';
import { printed, spawnSpillway, type Command } from './support/spawn.ts';

interface Gateway {
  readonly url: string;
  readonly command: Command;
}

let provider: AnsweringProvider;
/** As it is configured by itself; with retries; with comments at once. */
let gateway: Gateway;
let retrying: Gateway;
let pinging: Gateway;

async function openGateway(...args: string[]): Promise<Gateway> {
  const { url } = provider;
  const upstreams = `${url}/v1 api=anthropic,url=${url} api=gemini,url=${url}`;
  const command = spawnSpillway([
    'serve',
    '--port',
    '0',
    '--admin-port',
    '0',
    '--log-level',
    'silent',
    '--upstream',
    upstreams,
    ...args,
  ]);
  return { command, url: await printed(command, /Spillway on (\S+)/) };
}

beforeAll(async () => {
  provider = await openAnsweringProvider();
  [gateway, retrying, pinging] = await Promise.all([
    openGateway(),
    openGateway('--retries', '2'),
    openGateway('--keep-alive-ms', '20'),
  ]);
});

afterAll(async () => {
  for (const { command } of [gateway, retrying, pinging]) {
    command.process.kill('SIGKILL');
    await command.exited;
  }
  provider.close();
});

/** A part of a test. No two have the same. */
let cases = 0;

/** What came of asking one way, and how many requests reached the provider. */
async function outcome(
  url: string,
  asking: Asking,
  stream: boolean,
  answer: (response: ServerResponse) => Promise<void> | void,
  maxRetries?: number,
): Promise<{ seen: Readonly<Record<string, unknown>>; requests: number }> {
  cases += 1;
  const name = String(cases);
  provider.answer(name, answer);
  const error = await asking.ask({ url, name, maxRetries }, stream).catch((thrown: unknown) => thrown);
  return { seen: seen(error), requests: provider.requestsOf(name) };
}

describe.each(askings)('a refusal, by $name', (asking) => {
  test.each(spellings)('in the spelling "$name" is the same as without a gateway', async (spelling) => {
    for (const stream of [true, false]) {
      for (const isChunked of [true, false]) {
        const answer = (response: ServerResponse): void =>
          refuse(response, spelling, { headers: hints, isChunked });
        const direct = await outcome(provider.url, asking, stream, answer, 1);
        expect(direct.requests).toBe(asking.name === 'gemini' ? 1 : 2);
        expect(await outcome(gateway.url, asking, stream, answer, 1)).toEqual(direct);
      }
    }
  });

  test.each(spellings.filter(({ words }) => words !== undefined))(
    'in the spelling "$name" is told as an event when the status is sent',
    async (spelling) => {
      const { error } = await askAfterComment(asking, spelling);
      expect(error).toBeInstanceOf(Error);
      expect(wordsOf(error)).toContain(spelling.words);
    },
  );
});

/** Errors in the middle of a stream, as its last event. */
const lastEvents: readonly (readonly [name: string, event: string])[] = [
  ['error, first', 'data: {"error":{"message":"engine died","code":500}}'],
  ['error, with spaces', 'data: { "error": {"message":"engine died","code":500}}'],
  ['error, behind other keys', 'data: {"id":"c","error":{"message":"engine died","code":502}}'],
  ['error, a string', 'data: {"error":"engine died"}'],
  [
    'error, in a whole event',
    'data: {"id":"c","error":{"code":502,"message":"engine died"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}',
  ],
  ['a list', 'data: [{"error":{"message":"engine died","code":500,"status":"INTERNAL"}}]'],
  ['detail', 'data: {"detail":"engine died"}'],
  ['message', 'data: {"message":"engine died","code":500}'],
  ['errors', 'data: {"success":false,"errors":[{"message":"engine died"}]}'],
  ['object', 'data: {"object":"error","message":"engine died","type":"InternalServerError","code":500}'],
  ['type', 'data: {"type":"error"}'],
  [
    'type, named',
    'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"engine died"}}',
  ],
  ['a name, and words', 'event: error\ndata: engine died'],
  ['a name without a space', 'event:error\ndata:{"code":500}'],
  ['a name, behind its data', 'data: {"code":500}\nevent: error'],
  ['a name, and data in lines', 'event: error\ndata: {"code":\ndata: 500}'],
];

describe.each(askings)('2.4 an error in a stream, by $name', (asking) => {
  test.each(lastEvents)('in the spelling "%s" stands alone', async (_name, event) => {
    for (const lineEnd of ['\n', '\r\n']) {
      const body = `${asking.firstEvent}\n\n${event}\n\n`.replaceAll('\n', lineEnd);
      const answer = (response: ServerResponse): void => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(body);
      };
      expect(await textOf(gateway.url, asking, answer)).toBe(body);
      const direct = await outcome(provider.url, asking, true, answer);
      const through = await outcome(gateway.url, asking, true, answer);
      expect({ ...through.seen, headers: {} }).toEqual({ ...direct.seen, headers: {} });
      expect(through.requests).toBe(direct.requests);
    }
  });

  test('that lacks only its blank line is told, and one that lacks more is not', async () => {
    const whole = 'data: {"error":{"message":"engine died","code":500}}';
    for (const rest of ['', '\n', '\r\n']) {
      const start = `${asking.firstEvent}\n\n`;
      const told = await textOf(gateway.url, asking, (response) =>
        sendEvents(response, start + whole + rest),
      );
      expect(told).toBe(`${start}${whole}${rest}\n\n`);
      const cut = await textOf(gateway.url, asking, (response) => {
        sendEvents(response, start + whole.slice(0, -1) + rest);
      });
      expect(cut).not.toContain('engine died');
      expect(cut).toContain('The provider closed the stream before its end');
    }
  });

  test('is not what words seem that the answer goes on behind', async () => {
    const body = `data: {"message":"loading"}\n\n${asking.firstEvent}\n\n`;
    const text = await textOf(gateway.url, asking, (response) => sendEvents(response, body));
    expect(text.startsWith(body)).toBe(true);
    expect(text).toContain('The provider closed the stream before its end');
  });
});

function sendEvents(response: ServerResponse, body: string): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end(body);
}

/** The bytes that a client without an SDK gets. */
async function textOf(
  url: string,
  { body, path }: Asking,
  answer: (response: ServerResponse) => void,
): Promise<string> {
  cases += 1;
  const name = String(cases);
  provider.answer(name, answer);
  const headers = { 'content-type': 'application/json', 'x-case': name };
  return await (await fetch(url + path, { method: 'POST', headers, body })).text();
}

const soon = { 'retry-after-ms': '1' } as const;
const busy = { status: 429, headers: soon } as const;
const [plain] = spellings as [Spelling];
const quota: Spelling = {
  name: 'quota',
  contentType: 'application/json',
  body: '{"error":{"message":"quota","type":"insufficient_quota","code":"insufficient_quota"}}',
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
    answer: (r) => sendEvents(r, `data: ${'x'.repeat(17 * 2 ** 20)}`),
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

describe.each(askings)('1.5 requests at the provider for one of $name', (asking) => {
  test.each(refusedHow)('refused by $name', async ({ answer, requests, retrying: most }) => {
    const [direct, through, google] = asking.name === 'gemini' ? [1, 1, 1] : requests;
    expect(google).toBe(1);
    expect(through).toBeLessThanOrEqual(direct);
    const counts = [provider.url, gateway.url, retrying.url].map(
      async (url) => (await outcome(url, asking, true, answer)).requests,
    );
    expect(await Promise.all(counts)).toEqual([direct, through, most]);
  });
});

/** What an SDK throws says its words somewhere, perhaps as JSON in JSON. */
function wordsOf(error: unknown): string {
  return JSON.stringify(seen(error)).replaceAll(/\\+"/g, '"');
}

/** The provider refuses only when its client has got a comment, and so a status. */
async function askAfterComment(asking: Asking, spelling: Spelling): Promise<{ error: unknown }> {
  cases += 1;
  const name = String(cases);
  const commented = Promise.withResolvers<void>();
  provider.answer(name, async (response) => {
    await commented.promise;
    refuse(response, spelling, { headers: hints });
  });
  const { fetch } = globalThis;
  // The SDKs do not show comments: their own fetch is looked at.
  globalThis.fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (response.status === 200) commented.resolve();
    return response;
  };
  try {
    return {
      error: await asking
        .ask({ url: pinging.url, name, maxRetries: 0 }, true)
        .catch((error: unknown) => error),
    };
  } finally {
    globalThis.fetch = fetch;
  }
}
