import type { ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { until } from '../../../core/test/support/until.ts';
import {
  openOpenAiChat,
  type OpenAiChatOptions,
  type ReasonEvent,
  type ReasonMessage,
  StageError,
} from '../../src/index.ts';
import { begin, ChatServer, chunk, done, usageChunk } from '../support/chat-server.ts';

const closing: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function serve(
  answer: (response: ServerResponse) => void,
): Promise<{ server: ChatServer; url: string }> {
  const server = new ChatServer(answer);
  closing.push(() => server.close());
  return { server, url: await server.listen() };
}

const hello: readonly ReasonMessage[] = [{ role: 'user', text: 'Hello.' }];

interface Asked {
  readonly events: ReasonEvent[];
  readonly error: unknown;
}

async function ask(
  url: string,
  options: Partial<OpenAiChatOptions> = {},
  {
    messages = hello,
    signal = new AbortController().signal,
    tools = [],
  }: {
    messages?: readonly ReasonMessage[];
    signal?: AbortSignal;
    tools?: Parameters<ReturnType<typeof openOpenAiChat>['answer']>[1]['tools'];
  } = {},
): Promise<Asked> {
  const reasoner = openOpenAiChat({ url, model: 'gpt-5-mini', apiKey: 'sk-test', ...options });
  const events: ReasonEvent[] = [];
  try {
    for await (const event of reasoner.answer(messages, { tools, signal })) events.push(event);
    return { events, error: undefined };
  } catch (error) {
    return { events, error };
  }
}

describe('an answer of Chat Completions', () => {
  test('comes in its deltas, with its usage, from an API that is strict', async () => {
    const { server, url } = await serve((response) => {
      begin(response);
      response.write(chunk({ role: 'assistant', content: '' }));
      for (const word of ['We ', 'are ', 'open.']) response.write(chunk({ content: word }));
      response.write(`: a comment\n\n${chunk({}, 'stop')}${usageChunk}${done}`);
      // Nothing behind the end counts.
      response.end(chunk({ content: 'More.' }));
    });
    const tool = { name: 'find_book', description: 'Finds a book.', parameters: { type: 'object' } };
    const asked = { callId: 't-1', name: 'find_book', input: '{}' };
    const messages: readonly ReasonMessage[] = [
      { role: 'system', text: 'Be short.' },
      { role: 'user', text: 'Hello.' },
      { role: 'assistant', text: 'One moment.', tools: [asked] },
      { role: 'tool', callId: 't-1', output: 'It is there.' },
      { role: 'assistant', text: '', tools: [{ ...asked, callId: 't-2' }] },
      { role: 'tool', callId: 't-2', output: 'It is gone.' },
    ];
    const { error, events } = await ask(url, { maxOutputTokens: 200 }, { messages, tools: [tool] });
    expect(error).toBe(undefined);
    expect(events).toEqual([
      { kind: 'text', text: 'We ' },
      { kind: 'text', text: 'are ' },
      { kind: 'text', text: 'open.' },
      { kind: 'used', usage: { inputTokens: 12, outputTokens: 34 } },
    ]);
    expect(server.requests[0]).toMatchObject({ model: 'gpt-5-mini', max_completion_tokens: 200 });
    expect(server.requests[0]?.messages[2]).toEqual({
      role: 'assistant',
      content: 'One moment.',
      tool_calls: [{ id: 't-1', type: 'function', function: { name: 'find_book', arguments: '{}' } }],
    });
    expect(server.requests[0]?.messages[4]).toMatchObject({ role: 'assistant', content: null });
  });

  test('asks for tools when their arguments are whole, however they are cut', async () => {
    const { url } = await serve((response) => {
      begin(response);
      const call = (index: number, more: object): string => chunk({ tool_calls: [{ index, ...more }] });
      response.write(call(0, { id: 't-1', type: 'function', function: { name: 'find', arguments: '' } }));
      response.write(call(1, { id: 't-2', type: 'function', function: { name: 'hours', arguments: '' } }));
      for (const text of ['{"ti', 'tle":"D', 'une"}'])
        response.write(call(0, { function: { arguments: text } }));
      response.end(`${chunk({}, 'tool_calls')}${done}`);
    });
    const { events } = await ask(url);
    expect(events).toEqual([
      { kind: 'toolCalled', callId: 't-1', name: 'find', input: '{"title":"Dune"}' },
      { kind: 'toolCalled', callId: 't-2', name: 'hours', input: '{}' },
    ]);
  });

  test('may end without a marker, when its choice has ended', async () => {
    const { url } = await serve((response) => {
      begin(response);
      response.end(`${chunk({ content: 'Yes.' })}${chunk({}, 'length')}`);
    });
    expect(await ask(url)).toEqual({ events: [{ kind: 'text', text: 'Yes.' }], error: undefined });
  });

  test.each<[what: string, answer: (response: ServerResponse) => void, code: string]>([
    [
      '401',
      (response) => void response.writeHead(401).end('{"error":{"message":"Bad key sk-test."}}'),
      'unauthorized',
    ],
    ['403', (response) => void response.writeHead(403).end(), 'unauthorized'],
    [
      '400',
      (response) => void response.writeHead(400).end('{"error":{"message":"No such model."}}'),
      'refused',
    ],
    ['500', (response) => void response.writeHead(500).end('x'.repeat(100_000)), 'unreachable'],
    ['a redirect', (response) => void response.writeHead(302, { location: '/' }).end(), 'unreachable'],
    ['nothing', (response) => void response.destroy(), 'unreachable'],
    [
      'an answer without its end',
      (response) => {
        begin(response);
        response.end(chunk({ content: 'Yes' }));
      },
      'lost',
    ],
    [
      'an answer that is cut',
      (response) => {
        begin(response);
        response.write(chunk({ content: 'Yes' }), () => response.destroy());
      },
      'lost',
    ],
    [
      'an error in its answer',
      (response) => {
        begin(response);
        response.end(`data: {"error":{"message":"Overloaded.","type":"server_error"}}\n\n${done}`);
      },
      'lost',
    ],
    [
      'no JSON',
      (response) => {
        begin(response);
        response.end(`data: {"choices":[{"index":0,"delta":\n\n${done}`);
      },
      'bad_message',
    ],
    [
      'a delta that is none',
      (response) => {
        begin(response);
        response.end(`data: {"choices":[{"index":0,"delta":{"content":7}}]}\n\n${done}`);
      },
      'bad_message',
    ],
    [
      'an event without an end',
      (response) => {
        begin(response);
        response.end(`data: ${'x'.repeat(100_000)}`);
      },
      'bad_message',
    ],
    [
      'arguments without an end',
      (response) => {
        begin(response);
        const input = 'x'.repeat(10_000);
        const call = { index: 0, id: 't', function: { name: 'find', arguments: input } };
        for (let at = 0; at < 10; at += 1) response.write(chunk({ tool_calls: [call] }));
        response.end();
      },
      'bad_message',
    ],
    [
      'tools without an end',
      (response) => {
        begin(response);
        for (let index = 0; index < 100; index += 1)
          response.write(chunk({ tool_calls: [{ index, id: 't', function: { name: 'find' } }] }));
        response.end();
      },
      'bad_message',
    ],
    [
      'a tool without a name',
      (response) => {
        begin(response);
        response.end(`${chunk({ tool_calls: [{ index: 0, id: 't' }] }, 'tool_calls')}${done}`);
      },
      'bad_message',
    ],
  ])('%s: a code that says so, and no key', async (_what, answer, code) => {
    const { url } = await serve(answer);
    const { error } = await ask(url, { maxEventBytes: 20_000 });
    expect(error).toBeInstanceOf(StageError);
    const { message } = error as StageError;
    expect([(error as StageError).code, message]).toEqual([code, message]);
    expect(message).not.toContain('sk-test');
    expect(message.length).toBeLessThan(400);
  });

  test('is rate limited for as long as the API says', async () => {
    const { url } = await serve((response) => void response.writeHead(429, { 'retry-after': '2' }).end());
    expect((await ask(url)).error).toMatchObject({ code: 'rate_limited', retryAfterMs: 2000 });
  });

  test('is refused with a wrong key, which no message has', async () => {
    const { url } = await serve(() => undefined);
    const { error } = await ask(url, { apiKey: 'sk-other' });
    expect(error).toMatchObject({ code: 'unauthorized' });
    expect((error as Error).message).toBe(
      'The model of text answered with HTTP status 401 (invalid_request_error).',
    );
  });

  test('has nobody who answers', async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) =>
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)),
    );
    await new Promise((resolve) => server.close(resolve));
    expect((await ask(`http://127.0.0.1:${port}/v1`)).error).toMatchObject({ code: 'unreachable' });
  });

  test.each(['before it begins', 'in its middle'])('that is aborted %s ends the request', async (when) => {
    const { server, url } = await serve((response) => {
      if (when === 'before it begins') return;
      begin(response);
      response.write(chunk({ content: 'Yes' }));
    });
    const abort = new AbortController();
    const reasoner = openOpenAiChat({ url, model: 'm', apiKey: 'sk-test' });
    const answer = reasoner.answer(hello, { tools: [], signal: abort.signal })[Symbol.asyncIterator]();
    if (when === 'in its middle') await answer.next();
    const next = answer.next();
    await until(() => server.requests.length > 0);
    abort.abort(new Error('Not wanted.'));
    await expect(next).rejects.toThrow('Not wanted.');
    await until(() => server.aborted === 1);
  });

  test('is read no further than who iterates, but for what sockets hold', async () => {
    let written = 0;
    const { url } = await serve((response) => {
      begin(response);
      const more = (): void => {
        while (written < 100_000_000) {
          const text = chunk({ content: 'x'.repeat(1000) });
          written += text.length;
          if (response.write(text)) continue;
          response.once('drain', more);
          return;
        }
        response.end(done);
      };
      more();
    });
    const reasoner = openOpenAiChat({ url, model: 'm', apiKey: 'sk-test' });
    const abort = new AbortController();
    const answer = reasoner.answer(hello, { tools: [], signal: abort.signal })[Symbol.asyncIterator]();
    await answer.next();
    let last = -1;
    // It stands still.
    await until(() => {
      const isStill = last === written;
      last = written;
      return isStill && written > 100_000;
    });
    expect(written).toBeLessThan(30_000_000);
    abort.abort();
    await expect(answer.next()).rejects.toThrow();
  });

  test.each([
    [{ url: 'ftp://example' }, 'url'],
    [{ url: 'nonsense' }, 'url'],
    [{ model: '' }, 'model'],
  ])('refuses options that are wrong: %j', (options, name) => {
    expect(() => openOpenAiChat({ model: 'm', ...options })).toThrow(new RegExp(`^${name}: expected`, 'u'));
  });
});
