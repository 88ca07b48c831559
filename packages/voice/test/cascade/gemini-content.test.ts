import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { until } from '../../../core/test/support/until.ts';
import {
  type GeminiContentOptions,
  openGeminiContent,
  type ReasonMessage,
  StageError,
} from '../../src/index.ts';
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
import { chunkOf, type ContentRequest, contentServer } from '../support/content-server.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function serve(
  answer: (response: ServerResponse, request: ContentRequest) => void,
  options: Parameters<typeof contentServer>[1] = {},
): Promise<{ server: AnswerServer<ContentRequest>; url: string }> {
  const server = contentServer(answer, options);
  closing.push(() => server.close());
  return { server, url: await server.listen() };
}

function open(
  url: string,
  options: Partial<GeminiContentOptions> = {},
): ReturnType<typeof openGeminiContent> {
  return openGeminiContent({ url, model: 'gemini-3-flash', apiKey: 'sk-test', ...options });
}

/** Answers with these events, and ends. */
function say(...events: readonly string[]): (response: ServerResponse) => void {
  return (response) => {
    beginEvents(response);
    response.end(events.join(''));
  };
}

const stop = { finishReason: 'STOP' };
const usageOf = (output: number): object => ({
  usageMetadata: { promptTokenCount: 12, candidatesTokenCount: output, thoughtsTokenCount: 30 },
});

describe('an answer of Gemini’s API', () => {
  test.each(['gemini-3-flash', 'models/gemini-3-flash'])(
    'comes in its pieces, with its usage, from an API that is strict: %s',
    async (model) => {
      const { server, url } = await serve(
        say(
          chunkOf([{ text: 'They want to know.', thought: true }], {}, usageOf(0)),
          chunkOf([{ text: 'We are ' }]),
          chunkOf([{ text: 'open.', thoughtSignature: 'c2ln' }], stop, usageOf(4)),
        ),
      );
      const { error, events } = await askReasoner(open(url, { model }), {
        messages: [{ role: 'system', text: 'Be short.' }, ...hello],
      });
      expect(error).toBe(undefined);
      expect(events).toEqual([
        { kind: 'used', usage: { inputTokens: 12, outputTokens: 30 } },
        { kind: 'text', text: 'We are ' },
        { kind: 'used', usage: { inputTokens: 12, outputTokens: 34 } },
        { kind: 'text', text: 'open.' },
      ]);
      expect(server.requests).toEqual([
        {
          systemInstruction: { parts: [{ text: 'Be short.' }] },
          contents: [{ role: 'user', parts: [{ text: 'Hello.' }] }],
        },
      ]);
    },
  );

  test('is asked for with a conversation whose sides alternate, and results of tools in front', async () => {
    const { server, url } = await serve(say(chunkOf([{ text: 'Yes.' }], stop)));
    const { error } = await askReasoner(open(url, { maxOutputTokens: 200 }), {
      messages: busyConversation,
      tools: [findBook, hours],
    });
    expect(error).toBe(undefined);
    const [request] = server.requests;
    expect(request).toMatchObject({
      generationConfig: { maxOutputTokens: 200 },
      systemInstruction: { parts: [{ text: 'Be short.\n\nNow greet again.' }] },
    });
    // The API knows no schema without properties.
    expect(request?.tools?.[0]?.functionDeclarations).toEqual([
      {
        name: 'find_book',
        description: 'Finds a book.',
        parameters: { type: 'OBJECT', properties: { title: { type: 'STRING' } } },
      },
      { name: 'hours', description: 'When it is open.' },
    ]);
    expect(request?.contents).toEqual([
      { role: 'user', parts: [{ text: '(Nothing was said.)' }] },
      { role: 'model', parts: [{ text: 'Hello, this is the library.' }] },
      { role: 'user', parts: [{ text: 'Have you got Dune?' }, { text: 'And when do you close?' }] },
      {
        role: 'model',
        parts: [
          { functionCall: { id: 't-1', name: 'find_book', args: { title: 'Dune' } } },
          { functionCall: { id: 't-2', name: 'hours', args: {} } },
        ],
      },
      {
        role: 'user',
        parts: [
          { functionResponse: { id: 't-1', name: 'find_book', response: { output: 'It is there.' } } },
          { functionResponse: { id: 't-2', name: 'hours', response: { output: 'At six.' } } },
          { text: 'Hello?' },
        ],
      },
    ]);
  });

  test.each([
    ['nobody has spoken', [{ role: 'system', text: 'Greet the caller.' } as const], 1],
    ['it has spoken last', [...hello, { role: 'assistant', text: 'Yes?', tools: [] } as const], 3],
  ])('may be asked for when %s', async (_what, messages, turns) => {
    const { server, url } = await serve(say(chunkOf([{ text: 'Hello?' }], stop)));
    expect((await askReasoner(open(url), { messages })).error).toBe(undefined);
    expect(server.requests[0]?.contents).toHaveLength(turns);
  });

  const call = (name: string, args: object, more: object = {}): object => ({
    functionCall: { name, args },
    ...more,
  });

  /** Asks for tools, and gives the conversation with the results of those that `isGiven` says. */
  async function withTools(
    reasoner: ReturnType<typeof openGeminiContent>,
    isGiven: (at: number) => boolean = () => true,
  ): Promise<readonly ReasonMessage[]> {
    const { error, events } = await askReasoner(reasoner, { tools: [findBook, hours] });
    expect(error).toBe(undefined);
    const tools = events.filter((event) => event.kind === 'toolCalled').filter((_, at) => isGiven(at));
    const results = tools.map(({ callId }) => ({ role: 'tool', callId, output: 'Yes.' }) as const);
    return [...hello, { role: 'assistant', text: '', tools }, ...results];
  }

  test('asks for tools by ids that are made here, and not told to the API', async () => {
    const { server, url } = await serve(
      say(
        chunkOf([{ text: 'One moment.' }, call('find_book', { title: 'Dune' })]),
        chunkOf([call('find_book', { title: 'Emma' }), { functionCall: { name: 'hours' } }], stop),
      ),
    );
    const reasoner = open(url);
    const messages = await withTools(reasoner);
    const asked = messages.flatMap((message) => (message.role === 'assistant' ? message.tools : []));
    expect(asked.map(({ input, name }) => [name, input])).toEqual([
      ['find_book', '{"title":"Dune"}'],
      ['find_book', '{"title":"Emma"}'],
      ['hours', '{}'],
    ]);
    expect(new Set(asked.map(({ callId }) => callId)).size).toBe(3);
    const { error } = await askReasoner(reasoner, { messages, tools: [findBook, hours] });
    expect(error).toBe(undefined);
    expect(server.requests[1]?.contents[1]?.parts[0]).toEqual(call('find_book', { title: 'Dune' }));
  });

  test('gives ids of the API back', async () => {
    const { server, url } = await serve(
      say(chunkOf([{ functionCall: { id: 'f-1', name: 'hours', args: {} } }], stop)),
    );
    const reasoner = open(url);
    const messages = await withTools(reasoner);
    expect(messages[2]).toMatchObject({ callId: 'f-1' });
    expect((await askReasoner(reasoner, { messages, tools: [hours] })).error).toBe(undefined);
    expect(server.requests[1]?.contents[2]?.parts[0]).toMatchObject({ functionResponse: { id: 'f-1' } });
  });

  test.each([
    ['gives the signatures of thoughts back', () => true, 'c2ln'],
    ['says so where the signed call is gone', (at: number) => at > 0, 'skip_thought_signature_validator'],
  ])('%s', async (_what, isGiven, signature) => {
    const { server, url } = await serve(
      say(
        chunkOf(
          [call('find_book', { title: 'Dune' }, { thoughtSignature: 'c2ln' }), call('hours', {})],
          stop,
        ),
      ),
      { signs: true },
    );
    const reasoner = open(url);
    const messages = await withTools(reasoner, isGiven);
    const { error } = await askReasoner(reasoner, { messages, tools: [findBook, hours] });
    expect(error).toBe(undefined);
    const [first, second] = server.requests[1]?.contents[1]?.parts ?? [];
    expect(first).toMatchObject({ thoughtSignature: signature });
    expect(second ?? {}).not.toHaveProperty('thoughtSignature');
  });

  test('that has reached its length is whole', async () => {
    const { url } = await serve(say(chunkOf([{ text: 'Yes.' }], { finishReason: 'MAX_TOKENS' })));
    const { error, events } = await askReasoner(open(url));
    expect([error, wordsOf(events)]).toEqual([undefined, 'Yes.']);
  });

  const many = Array.from({ length: 100 }, () => call('find_book', {}));
  const failed = { error: { code: 503, message: 'sk-test is too much.', status: 'UNAVAILABLE' } };
  test.each<[what: string, answer: (response: ServerResponse) => void, code: string]>([
    ['403', (response) => void response.writeHead(403).end(), 'unauthorized'],
    ['404', (response) => void response.writeHead(404).end('{"error":{"code":404}}'), 'refused'],
    ['429', (response) => void response.writeHead(429).end(), 'rate_limited'],
    ['500', (response) => void response.writeHead(500).end('x'.repeat(100_000)), 'unreachable'],
    ['nothing', (response) => void response.destroy(), 'unreachable'],
    ['an answer without its end', say(chunkOf([{ text: 'Yes' }])), 'lost'],
    [
      'an answer that is cut',
      (response) => {
        beginEvents(response);
        response.write(chunkOf([{ text: 'Yes' }]), () => response.destroy());
      },
      'lost',
    ],
    [
      'an error in its answer',
      say(chunkOf([{ text: 'Yes' }]), `data: ${JSON.stringify(failed)}\n\n`),
      'lost',
    ],
    ['a filter', say(chunkOf([{ text: 'Yes' }], { finishReason: 'SAFETY' })), 'lost'],
    ['a call that is none', say(chunkOf([], { finishReason: 'MALFORMED_FUNCTION_CALL' })), 'lost'],
    ['a reason with a key', say(chunkOf([], { finishReason: 'sk-test' })), 'lost'],
    ['a blocked prompt', say(`data: {"promptFeedback":{"blockReason":"SAFETY"}}\n\n`), 'refused'],
    ['no JSON', say('data: {"candidates":\n\n'), 'bad_message'],
    ['a text that is none', say(chunkOf([{ text: 7 }], stop)), 'bad_message'],
    ['an event without an end', say(`data: ${'x'.repeat(100_000)}`), 'bad_message'],
    ['tools without an end', say(chunkOf(many, stop)), 'bad_message'],
    ['a tool without a name', say(chunkOf([{ functionCall: { name: '' } }], stop)), 'bad_message'],
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
      message: 'The model of text answered with HTTP status 400 (API_KEY_INVALID).',
    });
  });

  test('that is aborted in its middle ends the request', async () => {
    const { server, url } = await serve((response) => {
      beginEvents(response);
      response.write(chunkOf([{ text: 'Yes' }]));
    });
    const abort = new AbortController();
    const answer = open(url).answer(hello, { tools: [], signal: abort.signal })[Symbol.asyncIterator]();
    await answer.next();
    const next = answer.next();
    abort.abort(new Error('Not wanted.'));
    await expect(next).rejects.toThrow('Not wanted.');
    await until(() => server.aborted === 1);
  });

  test('is read no further than who iterates, but for what sockets hold', async () => {
    let sent = { written: 0 };
    const { url } = await serve((response) => {
      beginEvents(response);
      sent = endlessly(
        (text) => response.write(text),
        (more) => response.once('drain', more),
        chunkOf([{ text: 'x'.repeat(1000) }]),
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
    [{ model: '' }, 'model'],
    [{ model: 'models/' }, 'model'],
    [{ maxOutputTokens: 1.5 }, 'maxOutputTokens'],
  ])('refuses options that are wrong: %j', (options, name) => {
    expect(() => openGeminiContent({ model: 'm', ...options })).toThrow(
      new RegExp(`^${name}: expected`, 'u'),
    );
  });
});
