import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { until } from '../../../core/test/support/until.ts';
import { type AnthropicMessagesOptions, openAnthropicMessages, StageError } from '../../src/index.ts';
import { type AnswerServer, beginEvents } from '../support/answer-server.ts';
import {
  askReasoner,
  busyConversation,
  endlessly,
  findBook,
  hello,
  hours,
  wordsOf,
} from '../support/asked-reasoner.ts';
import {
  event,
  messageEnd,
  messagesServer,
  type MessagesRequest,
  messageStart,
  textBlock,
  toolBlock,
} from '../support/messages-server.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function serve(
  answer: (response: ServerResponse) => void,
): Promise<{ server: AnswerServer<MessagesRequest>; url: string }> {
  const server = messagesServer(answer);
  closing.push(() => server.close());
  return { server, url: await server.listen() };
}

function open(
  url: string,
  options: Partial<AnthropicMessagesOptions> = {},
): ReturnType<typeof openAnthropicMessages> {
  return openAnthropicMessages({ url, model: 'claude-haiku-4-5', apiKey: 'sk-test', ...options });
}

/** Answers with these events, and ends. */
function say(...events: readonly string[]): (response: ServerResponse) => void {
  return (response) => {
    beginEvents(response);
    response.end(events.join(''));
  };
}

describe('an answer of Anthropic’s Messages', () => {
  test('comes in its deltas, with its usage, from an API that is strict', async () => {
    const { server, url } = await serve(
      say(
        messageStart,
        event('ping'),
        textBlock(0, 'We ', 'are ', 'open.'),
        event('content_block_start', { index: 1, content_block: { type: 'thinking', thinking: '' } }),
        event('content_block_delta', { index: 1, delta: { type: 'thinking_delta', thinking: 'Hm.' } }),
        messageEnd('end_turn'),
        // Nothing behind the end counts.
        textBlock(2, 'More.'),
      ),
    );
    const { error, events } = await askReasoner(open(url), {
      messages: [{ role: 'system', text: 'Be short.' }, ...hello],
    });
    expect(error).toBe(undefined);
    expect(events).toEqual([
      // What a cache has of a prompt is input, too.
      { kind: 'used', usage: { inputTokens: 12, outputTokens: 0 } },
      { kind: 'text', text: 'We ' },
      { kind: 'text', text: 'are ' },
      { kind: 'text', text: 'open.' },
      { kind: 'used', usage: { inputTokens: 12, outputTokens: 34 } },
    ]);
    expect(server.requests).toEqual([
      {
        model: 'claude-haiku-4-5',
        max_tokens: 1024,
        system: 'Be short.',
        messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello.' }] }],
        stream: true,
      },
    ]);
  });

  test('is asked for with a conversation whose sides alternate, and results of tools in front', async () => {
    const { server, url } = await serve(say(messageStart, textBlock(0, 'Yes.'), messageEnd('end_turn')));
    const reasoner = open(url, { maxOutputTokens: 200 });
    const { error, events } = await askReasoner(reasoner, {
      messages: busyConversation,
      tools: [findBook, hours],
    });
    expect([error, wordsOf(events)]).toEqual([undefined, 'Yes.']);
    const [request] = server.requests;
    expect(request).toMatchObject({ max_tokens: 200, system: 'Be short.\n\nNow greet again.' });
    expect(request?.tools?.[0]).toEqual({
      name: 'find_book',
      description: 'Finds a book.',
      input_schema: findBook.parameters,
    });
    const text = (words: string): object => ({ type: 'text', text: words });
    expect(request?.messages).toEqual([
      { role: 'user', content: [text('(Nothing was said.)')] },
      { role: 'assistant', content: [text('Hello, this is the library.')] },
      { role: 'user', content: [text('Have you got Dune?'), text('And when do you close?')] },
      {
        role: 'assistant',
        content: [
          { type: 'tool_use', id: 't-1', name: 'find_book', input: { title: 'Dune' } },
          // What is no object never was valid.
          { type: 'tool_use', id: 't-2', name: 'hours', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 't-1', content: 'It is there.' },
          { type: 'tool_result', tool_use_id: 't-2', content: 'At six.' },
          text('Hello?'),
        ],
      },
    ]);
  });

  test.each([
    ['nobody has spoken', [{ role: 'system', text: 'Greet the caller.' } as const], 1],
    ['it has spoken last', [...hello, { role: 'assistant', text: 'Yes?', tools: [] } as const], 3],
  ])('may be asked for when %s', async (_what, messages, turns) => {
    const { server, url } = await serve(say(messageStart, textBlock(0, 'Hello?'), messageEnd('end_turn')));
    expect((await askReasoner(open(url), { messages })).error).toBe(undefined);
    expect(server.requests[0]?.messages).toHaveLength(turns);
  });

  test('asks for tools when their arguments are whole, however they are cut', async () => {
    const { url } = await serve(
      say(
        messageStart,
        textBlock(0, 'One moment.'),
        toolBlock(1, { id: 'toolu_1', name: 'find_book' }, '', '{"ti', 'tle":"D', 'une"}'),
        toolBlock(2, { id: 'toolu_2', name: 'hours' }),
        // One that the API runs itself is none of the call's.
        event('content_block_start', { index: 3, content_block: { type: 'server_tool_use', id: 's' } }),
        event('content_block_delta', { index: 3, delta: { type: 'input_json_delta', partial_json: '{}' } }),
        messageEnd('tool_use'),
      ),
    );
    const { error, events } = await askReasoner(open(url), { tools: [findBook, hours] });
    expect(error).toBe(undefined);
    expect(events.filter(({ kind }) => kind === 'toolCalled')).toEqual([
      { kind: 'toolCalled', callId: 'toolu_1', name: 'find_book', input: '{"title":"Dune"}' },
      { kind: 'toolCalled', callId: 'toolu_2', name: 'hours', input: '{}' },
    ]);
    expect(events.at(-1)?.kind).toBe('toolCalled');
  });

  test.each([
    ['that has reached its length', messageEnd('max_tokens')],
    ['without a marker', event('message_delta', { delta: { stop_reason: 'end_turn' } })],
  ])('%s is whole', async (_what, end) => {
    const { url } = await serve(say(messageStart, textBlock(0, 'Yes.'), end));
    const { error, events } = await askReasoner(open(url));
    expect([error, wordsOf(events)]).toEqual([undefined, 'Yes.']);
  });

  const refusal = { type: 'error', error: { type: 'authentication_error', message: 'Bad key sk-test.' } };
  test.each<[what: string, answer: (response: ServerResponse) => void, code: string]>([
    ['401', (response) => void response.writeHead(401).end(JSON.stringify(refusal)), 'unauthorized'],
    ['404', (response) => void response.writeHead(404).end('{}'), 'refused'],
    ['500', (response) => void response.writeHead(500).end('x'.repeat(100_000)), 'unreachable'],
    ['529', (response) => void response.writeHead(529).end(), 'rate_limited'],
    ['a redirect', (response) => void response.writeHead(302, { location: '/' }).end(), 'unreachable'],
    ['nothing', (response) => void response.destroy(), 'unreachable'],
    ['an answer without its end', say(messageStart, textBlock(0, 'Yes')), 'lost'],
    [
      'an answer that is cut',
      (response) => {
        beginEvents(response);
        response.write(messageStart, () => response.destroy());
      },
      'lost',
    ],
    [
      'an error in its answer',
      say(
        messageStart,
        event('error', { error: { type: 'overloaded_error', message: 'sk-test is too much.' } }),
        messageEnd('end_turn'),
      ),
      'lost',
    ],
    ['a filter', say(messageStart, textBlock(0, 'Yes'), messageEnd('refusal')), 'lost'],
    ['no JSON', say(messageStart, 'event: ping\ndata: {"type":\n\n', messageEnd('end_turn')), 'bad_message'],
    [
      'a delta that is none',
      say(
        messageStart,
        event('content_block_delta', { index: 0, delta: { text: 7 } }),
        messageEnd('end_turn'),
      ),
      'bad_message',
    ],
    ['an event without an end', say(`data: ${'x'.repeat(100_000)}`), 'bad_message'],
    [
      'arguments without an end',
      say(
        messageStart,
        toolBlock(0, { id: 't', name: 'find' }, ...Array.from({ length: 10 }, () => 'x'.repeat(10_000))),
        messageEnd('tool_use'),
      ),
      'bad_message',
    ],
    [
      'tools without an end',
      say(
        messageStart,
        ...Array.from({ length: 100 }, (_, at) => toolBlock(at, { id: `t-${at}`, name: 'find' })),
        messageEnd('tool_use'),
      ),
      'bad_message',
    ],
    [
      'a tool without a name',
      say(messageStart, toolBlock(0, { id: 't' }), messageEnd('tool_use')),
      'bad_message',
    ],
  ])('%s: a code that says so, and no key', async (_what, answer, code) => {
    const { url } = await serve(answer);
    const { error } = await askReasoner(open(url, { maxEventBytes: 20_000 }));
    expect(error).toBeInstanceOf(StageError);
    const { message } = error as StageError;
    expect([(error as StageError).code, message]).toEqual([code, message]);
    expect(message).not.toContain('sk-test');
    expect(message.length).toBeLessThan(400);
  });

  test('is refused with a wrong key, which no message has', async () => {
    const { url } = await serve(() => undefined);
    const { error } = await askReasoner(open(url, { apiKey: 'sk-other' }));
    expect(error).toMatchObject({
      code: 'unauthorized',
      message: 'The model of text answered with HTTP status 401 (authentication_error).',
    });
  });

  test.each(['before it begins', 'in its middle'])('that is aborted %s ends the request', async (when) => {
    const { server, url } = await serve((response) => {
      if (when === 'before it begins') return;
      beginEvents(response);
      response.write(textBlock(0, 'Yes'));
    });
    const abort = new AbortController();
    const answer = open(url).answer(hello, { tools: [], signal: abort.signal })[Symbol.asyncIterator]();
    if (when === 'in its middle') await answer.next();
    const next = answer.next();
    await until(() => server.requests.length > 0);
    abort.abort(new Error('Not wanted.'));
    await expect(next).rejects.toThrow('Not wanted.');
    await until(() => server.aborted === 1);
  });

  test('is read no further than who iterates, but for what sockets hold', async () => {
    let sent = { written: 0 };
    const { url } = await serve((response) => {
      beginEvents(response);
      const delta = { type: 'text_delta', text: 'x'.repeat(1000) };
      sent = endlessly(
        (text) => response.write(text),
        (more) => response.once('drain', more),
        event('content_block_delta', { index: 0, delta }),
      );
    });
    const abort = new AbortController();
    const answer = open(url).answer(hello, { tools: [], signal: abort.signal })[Symbol.asyncIterator]();
    await answer.next();
    let last = -1;
    // It stands still.
    await until(() => {
      const isStill = last === sent.written;
      last = sent.written;
      return isStill && last > 100_000;
    });
    expect(sent.written).toBeLessThan(30_000_000);
    abort.abort();
    await expect(answer.next()).rejects.toThrow();
  });

  test.each([
    [{ url: 'ftp://example' }, 'url'],
    [{ url: 'nonsense' }, 'url'],
    [{ model: '' }, 'model'],
    [{ maxOutputTokens: 0 }, 'maxOutputTokens'],
  ])('refuses options that are wrong: %j', (options, name) => {
    expect(() => openAnthropicMessages({ model: 'm', ...options })).toThrow(
      new RegExp(`^${name}: expected`, 'u'),
    );
  });
});
