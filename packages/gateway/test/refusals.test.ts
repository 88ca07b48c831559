import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createFetch } from '../../client/src/index.ts';
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
import { openRaw, requestText } from './support/raw-connection.ts';
import { metric, payloads } from './support/requests.ts';
import { eventually } from './support/spawn.ts';

let provider: AnsweringProvider;
let gateway: Gateway;
/** With comments at once. */
let pinging: Gateway;

beforeAll(async () => {
  provider = await openAnsweringProvider();
  gateway = await provider.openGateway();
  pinging = await provider.openGateway(['--keep-alive-ms', '20']);
});

afterAll(() => provider.close());

describe.each(askings)('a refusal, by $name', (asking) => {
  test.each(spellings)('in the spelling "$name" is the same as without a gateway', async (spelling) => {
    for (const stream of [true, false]) {
      for (const isChunked of [true, false]) {
        const answer = (response: ServerResponse): void =>
          refuse(response, spelling, { headers: hints, isChunked });
        const direct = await provider.outcome(provider.url, asking, stream, answer, 1);
        expect(direct.requests).toBe(asking.name === 'gemini' ? 1 : 2);
        expect(await provider.outcome(gateway.url, asking, stream, answer, 1)).toEqual(direct);
      }
    }
  });

  test.each(spellings.filter(({ words }) => words !== undefined))(
    'in the spelling "$name" is told as an event when the status is sent',
    async (spelling) => {
      const { error } = await askAfterComment(asking, (response) =>
        refuse(response, spelling, { headers: hints }),
      );
      expect(error).toBeInstanceOf(Error);
      expect(wordsOf(error)).toContain(spelling.words);
    },
  );
});

test.each(spellings)('a refusal over a session, in the spelling "$name", has no coding', async (spelling) => {
  const through = createFetch({ url: gateway.url });
  try {
    for (const { body, path } of askings) {
      const answers = [fetch, through].map(async (ask, index) => {
        const name = provider.answer((response) => refuse(response, spelling, { headers: hints }));
        const url = index === 0 ? provider.url : gateway.url;
        const headers = { 'content-type': 'application/json', 'x-case': name };
        const answer = await ask(url + path, { method: 'POST', headers, body });
        const known = Object.keys(hints).map((hint) => answer.headers.get(hint));
        const text = await answer.text();
        if (index === 1) {
          // What nobody knows is handed on as it is, and says so.
          expect(answer.headers.get('content-encoding')).toBe(spelling.encoding === 'x-own' ? 'x-own' : null);
          const length = answer.headers.get('content-length') ?? String(Buffer.byteLength(text));
          expect(length).toBe(String(Buffer.byteLength(text)));
        }
        return {
          status: answer.status,
          known,
          text,
          requests: provider.requestsOf(name),
        };
      });
      const [direct, told] = await Promise.all(answers);
      expect(told).toEqual(direct);
    }
  } finally {
    await through.close();
  }
});

test.each([2048, 65_536])('a refusal of 3 MB passes a window of %i bytes', async (windowBytes) => {
  const { url } = await provider.openGateway(['--window-bytes', String(windowBytes)]);
  const body = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => 32 + (index % 95)));
  const spelling: Spelling = { name: 'large', contentType: 'text/plain', body };
  for (const asking of askings) {
    const text = await provider.textOf(url, asking, (response) => refuse(response, spelling));
    expect(text === body.toString()).toBe(true);
  }
});

test('promise 1: a large refusal waits for a reader that does not read', async () => {
  const { adminUrl, url } = await provider.openGateway();
  const body = Buffer.alloc(64 * 2 ** 20, 'x');
  let atProvider: ServerResponse | undefined;
  const name = provider.answer((response) => {
    atProvider = response;
    refuse(response, { name: 'large', contentType: 'text/plain', body });
  });
  const [chat] = askings as [Asking];
  const text = requestText(
    chat.path,
    [`x-case: ${name}`, 'content-type: application/json', `content-length: ${chat.body.length}`],
    chat.body,
  );
  await openRaw(url, { reads: false, text });
  const paused = 'spillway_streams{state="paused"}';
  await eventually(async () => (await metric(adminUrl, paused)) === 1, 'the provider to wait');
  // Long enough for all of it, if anybody took it.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(atProvider?.socket?.writableLength).toBeGreaterThan(16 * 2 ** 20);
});

describe.each(askings)('an error as an event says what it is, by $name', (asking) => {
  /** How an error of this format says what it is: by a code, a family or a status. */
  const saysWhat = (code: string, type: string, status: number): object =>
    ({ anthropic: { type }, gemini: { status } })[asking.name] ?? { code };

  test('a refusal as its provider writes them', async () => {
    const code = asking.name === 'gemini' ? 422 : 'x_code';
    const body = JSON.stringify({ error: { message: 'No, we say.', type: 'x_error', param: 'p', code } });
    const { error } = await askAfterComment(asking, (response) =>
      refuse(response, { name: 'own', contentType: 'application/json', body }),
    );
    expect(error).toMatchObject(saysWhat('x_code', 'x_error', 422));
    expect(wordsOf(error)).toContain('No, we say.');
  });

  test('a refusal whose status is none of an error', async () => {
    for (const status of [300, 399, 600]) {
      const body = JSON.stringify({ error: { message: 'No, we say.', code: status } });
      const { error } = await askAfterComment(asking, (response) =>
        refuse(response, { name: 'own', contentType: 'application/json', body }, { status }),
      );
      expect(error).toBeInstanceOf(Error);
      expect(wordsOf(error)).toContain('No, we say.');
    }
  });

  test('a redirect', async () => {
    const { error } = await askAfterComment(asking, (response) =>
      response.writeHead(307, { location: 'http://there.example/x' }).end(),
    );
    expect(error).toMatchObject(saysWhat('upstream_redirect', 'api_error', 502));
    expect(wordsOf(error)).toContain('http://there.example/x');
  });

  test('one of the gateway, before an answer and behind events', async () => {
    const before = await askAfterComment(asking, (response) => response.destroy());
    const behind = await askAfterComment(asking, (response) =>
      sendEvents(response, `${asking.firstEvent}\n\n`),
    );
    for (const { error } of [before, behind]) {
      expect(error).toMatchObject(saysWhat('upstream_cut', 'api_error', 502));
      expect(wordsOf(error)).toContain('The provider closed the');
    }
  });
});

test.each([
  [
    'a refusal',
    '{"error":{"message":"No, we say.","type":"x","code":"x_code"},"type":"y"}',
    'x_code',
    'No, we say.',
  ],
  ['one with a number', '{"error":{"message":"No, we say.","code":42}}', '42', 'No, we say.'],
  ['one without a code', '{"error":{"message":"No, we say."}}', 'upstream_invalid', 'No, we say.'],
  ['one without a message', '{"error":{"why":"No."}}', 'upstream_invalid', '{"error":{"why":"No."}}'],
  ['one of another shape', '{"detail":"No."}', 'upstream_invalid', '{"detail":"No."}'],
])(
  '%s is an error event of Responses with code and message at the top',
  async (_what, body, code, message) => {
    const commented = Promise.withResolvers<void>();
    const responses = askings.find(({ name }) => name === 'responses') as Asking;
    const name = provider.answer(async (response) => {
      await commented.promise;
      refuse(response, { name: 'any', contentType: 'application/json', body });
    });
    const headers = { 'content-type': 'application/json', 'x-case': name };
    const answer = await fetch(pinging.url + responses.path, {
      method: 'POST',
      headers,
      body: responses.body,
    });
    expect(answer.status).toBe(200);
    commented.resolve();
    const text = await answer.text();
    expect(text).toContain('event: error\n');
    const event: unknown = JSON.parse(payloads(text).at(-1) ?? '');
    expect(event).toMatchObject({ type: 'error', code, message, param: null, sequence_number: 0 });
  },
);

describe('a refusal as an event of Messages, without a type,', () => {
  const messages = askings.find(({ name }) => name === 'anthropic') as Asking;

  test.each([
    [400, 'invalid_request_error'],
    [401, 'authentication_error'],
    [403, 'permission_error'],
    [404, 'not_found_error'],
    [413, 'request_too_large'],
    [422, 'invalid_request_error'],
    [429, 'rate_limit_error'],
    [500, 'api_error'],
    [529, 'overloaded_error'],
    [600, 'api_error'],
  ])('has that of its status: %i', async (status, type) => {
    for (const own of [{}, { type: null }, { type: '' }, { code: status }]) {
      const body = JSON.stringify({ error: { message: 'No, we say.', ...own } });
      const { error } = await askAfterComment(messages, (response) =>
        refuse(response, { name: 'own', contentType: 'application/json', body }, { status }),
      );
      expect(error).toMatchObject({ type });
      expect(wordsOf(error)).toContain('No, we say.');
    }
  });
});

test.each(['€', '😀', 'é'])('the words of a refusal are cut at a whole character: %s', async (character) => {
  const [chat] = askings as [Asking];
  // As bytes, of which 64 KiB are held; and as text, where less is kept of a stream.
  const roomy = await provider.openGateway(['--keep-alive-ms', '20', '--window-bytes', '1048576']);
  // Wherever it is cut, one of these is cut in a character.
  const cases = [pinging, roomy].flatMap((at) => ['', 'x', 'xx', 'xxx'].map((before) => ({ at, before })));
  for (const { at, before } of cases) {
    const body = before + character.repeat(100_000);
    const { error } = await askAfterComment(
      chat,
      (response) => refuse(response, { name: 'long', contentType: 'text/plain', body }),
      at,
    );
    const told = (error as Error).message;
    expect(told.length).toBeGreaterThan(10_000);
    expect(told.isWellFormed() && !told.includes('\ufffd')).toBe(true);
    expect(told.slice(before.length).replaceAll(character, '')).toBe('');
  }
});

test('an answer without events gets no comments', async () => {
  const { url } = await provider.openGateway(['--keep-alive-ms', '1000']);
  const body = '{"choices": [], "candidates": [] }';
  const answer = (response: ServerResponse): void => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write(body.slice(0, 10));
    setTimeout(() => response.end(body.slice(10)), 2500);
  };
  const texts = await Promise.all(askings.map((asking) => provider.textOf(url, asking, answer)));
  expect(texts).toEqual(askings.map(() => body));
});

/** What an SDK throws says its words somewhere, perhaps as JSON in JSON. */
function wordsOf(error: unknown): string {
  return JSON.stringify(seen(error)).replaceAll(/\\+"/g, '"');
}

/** The provider refuses only when its client has got a comment, and so a status. */
async function askAfterComment(
  asking: Asking,
  answer: (response: ServerResponse) => void,
  { url }: Gateway = pinging,
): Promise<{ error: unknown }> {
  const commented = Promise.withResolvers<void>();
  const name = provider.answer(async (response) => {
    await commented.promise;
    answer(response);
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
      error: await asking.ask({ url, name, maxRetries: 0 }, true).catch((error: unknown) => error),
    };
  } finally {
    globalThis.fetch = fetch;
  }
}
