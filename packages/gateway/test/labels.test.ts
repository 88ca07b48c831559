import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ask, type FormatAnswer, formatAnswers, upstreamsAt } from './support/answers.ts';
import { type RunningGateway, startGateway } from './support/processes.ts';
import {
  chunk,
  lastChunk,
  type RawProvider,
  rawPairForAll,
  startRawProvider,
  wholeAnswer,
} from './support/raw-provider.ts';
import { metric, payloads, postChat } from './support/requests.ts';
import { withoutIds } from './support/stream-url.ts';

const [chat] = formatAnswers;

function textIn({ events }: FormatAnswer): string {
  return events.text + events.reason + events.marker;
}

const shared = rawPairForAll();

/**
 * A provider that writes these pieces, each a while after the one before, and a gateway in front of it: one for all tests that
 * want nothing of it.
 */
async function start(
  pieces: () => readonly (string | Buffer)[],
  args: readonly string[] = [],
  { isKept = true, pauseMs = 0 } = {},
): Promise<RunningGateway> {
  const answer: RawProvider['answer'] = (_asked, socket) => {
    void (async () => {
      for (const piece of pieces()) {
        if (socket.destroyed) return;
        socket.write(piece);
        await sleep(pauseMs);
      }
      if (!isKept) socket.end();
    })();
  };
  if (args.length === 0) {
    const { gateway, provider } = shared();
    provider.answer = answer;
    return gateway;
  }
  const provider = await startRawProvider(answer);
  return await startGateway(['--upstream', upstreamsAt(provider.url), ...args]);
}

function head(...headers: readonly string[]): Buffer {
  return Buffer.from(`HTTP/1.1 200 OK\r\n${headers.map((header) => `${header}\r\n`).join('')}\r\n`, 'latin1');
}

function codeOf(text: string): string {
  const { error } = JSON.parse(payloads(text).at(-1) ?? text) as {
    readonly error: { readonly code: string };
  };
  return error.code;
}

describe('events under a wrong content type, or under none, are events', () => {
  test.each([
    'application/json',
    'text/plain; charset=utf-8',
    'text/html',
    'application/octet-stream',
    'text/event-stream, application/json',
    '',
    undefined,
  ])('%j', async (contentType) => {
    const headers = contentType === undefined ? {} : { 'content-type': contentType };
    let answer = chat;
    const gateway = await start(() => [wholeAnswer(textIn(answer), headers)]);
    const completed = 'spillway_streams_ended_total{state="completed"}';
    const before = await metric(gateway.adminUrl, completed);
    for (answer of formatAnswers) {
      const response = await ask(gateway.url, answer);
      expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
      expect(response.headers.get('x-accel-buffering')).toBe('no');
      expect(await response.text()).toBe(textIn(answer));
      const url = gateway.url + (response.headers.get('content-location') ?? '');
      const events = await fetch(url, { headers: { accept: 'text/event-stream' } });
      expect(withoutIds(await events.text())).toBe(textIn(answer));
    }
    expect((await metric(gateway.adminUrl, completed)) - before).toBe(5);
  });

  test.each([
    ['a comment', ': queued\n\n'],
    ['an id', 'id: 1\n'],
    ['a name', 'event: x\n'],
    ['a time', 'retry: 10\n\n'],
    ['a byte order mark', '\uFEFF'],
    ['an empty line', '\r\n'],
  ])('that begin with %s, however they are cut', async (_what, first) => {
    const bytes = Buffer.from(first + textIn(chat));
    const cut = (at: number): Buffer[] => [bytes.subarray(0, at), bytes.subarray(at)];
    let pieces: readonly Buffer[] = [];
    const jsonHead = head('content-type: application/json', 'transfer-encoding: chunked');
    const gateway = await start(() => [jsonHead, ...pieces.map(chunk), lastChunk], [], { pauseMs: 15 });
    for (const at of [1, 2, 3, 5, 8]) {
      pieces = cut(at);
      const response = await postChat(gateway.url, 'm');
      expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
      expect(await response.text()).toBe(first.replace('\uFEFF', '') + textIn(chat));
    }
  });

  test('also when a comment was sent to the client before the first came', async () => {
    const pieces = [
      head('content-type: application/json', 'transfer-encoding: chunked'),
      chunk(textIn(chat)),
      lastChunk,
    ];
    const gateway = await start(() => pieces, ['--keep-alive-ms', '50'], { pauseMs: 400 });
    const text = await (await postChat(gateway.url, 'm')).text();
    expect(text.startsWith(': ping\n\n')).toBe(true);
    expect(payloads(text)).toEqual(payloads(textIn(chat)));
  });

  test('and are merged as such', async () => {
    const event = (at: number): string =>
      `data: {"choices":[{"index":0,"delta":{"content":"${at} "},"finish_reason":null}]}\n\n`;
    const events = Array.from({ length: 60 }, (_, at) => chunk(event(at)));
    const gateway = await start(
      () => [
        head('content-type: application/json', 'transfer-encoding: chunked'),
        ...events,
        chunk('data: [DONE]\n\n'),
        lastChunk,
      ],
      [],
      { pauseMs: 5 },
    );
    const response = await postChat(gateway.url, 'm', { headers: { 'spillway-merge-ms': '200' } });
    const datas = payloads(await response.text());
    expect(datas.length).toBeLessThan(30);
    const content = datas.slice(0, -1).map((data) => /"content":"([^"]*)"/.exec(data)?.[1] ?? '');
    expect(content.join('')).toBe(Array.from({ length: 60 }, (_, at) => `${at} `).join(''));
  });
});

describe('what does not begin as events is none', () => {
  test.each([
    ['application/json', '{"object":"chat.completion"}'],
    ['application/json', '\n\n\n\n\n\n{"object":"chat.completion"}'],
    ['application/json', '"data: x"'],
    ['text/plain', 'dates: none'],
    ['text/plain', 'dat'],
    ['text/plain', ''],
  ])('%s: %j', async (contentType, body) => {
    const gateway = await start(() => [wholeAnswer(body, { 'content-type': contentType })]);
    const response = await postChat(gateway.url, 'm');
    expect(response.headers.get('content-type')).toBe(contentType);
    expect(response.headers.get('content-length')).toBe(String(body.length));
    expect(await response.text()).toBe(body);
  });

  test('and is an error behind a comment', async () => {
    const jsonHead = head('content-type: application/json', 'transfer-encoding: chunked');
    const gateway = await start(() => [jsonHead, chunk('{}'), lastChunk], ['--keep-alive-ms', '50'], {
      pauseMs: 400,
    });
    const text = await (await postChat(gateway.url, 'm')).text();
    expect(codeOf(text)).toBe('upstream_invalid');
    expect(text).toContain('expected events (text/event-stream), got application/json.');
  });

  test('nor is what never begins', async () => {
    const gateway = await start(
      () => [head('content-type: application/json', 'transfer-encoding: chunked'), chunk('\n')],
      ['--idle-timeout-ms', '400'],
      { pauseMs: 20_000 },
    );
    const response = await postChat(gateway.url, 'm');
    expect(response.status).toBe(504);
    expect(codeOf(await response.text())).toBe('upstream_idle');
  });
});

test.each([
  ['transfer-encoding: chunked', 'transfer-encoding: chunked'],
  ['transfer-encoding: chunked, chunked'],
  ['transfer-encoding: identity, chunked'],
])('chunks that are announced as %s %s are chunks', async (...lines) => {
  const gateway = await start(() => [
    head('content-type: text/event-stream', ...lines),
    chunk(textIn(chat)),
    lastChunk,
  ]);
  for (let turn = 0; turn < 2; turn += 1) {
    expect(await (await ask(gateway.url, chat)).text()).toBe(textIn(chat));
  }
});

test('transfer-encoding: identity is nothing', async () => {
  const identity = head('content-type: text/event-stream', 'transfer-encoding: identity');
  const gateway = await start(() => [identity, textIn(chat)], [], { isKept: false });
  expect(await (await ask(gateway.url, chat)).text()).toBe(textIn(chat));
});

/** What a client gets, byte by byte, as latin1. */
async function rawAnswer(url: string, path: string, stream: boolean): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  onTestFinished(() => void socket.destroy());
  const body = JSON.stringify({ model: 'm', stream, messages: [] });
  const headers = `host: ${hostname}:${port}\r\nconnection: close\r\ncontent-type: application/json`;
  socket.write(`POST ${path} HTTP/1.1\r\n${headers}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  let text = '';
  for await (const piece of socket.setEncoding('latin1') as AsyncIterable<string>) text += piece;
  return text;
}

test('bytes of a header that are no ASCII come as they were written', async () => {
  const headers = { 'x-name': Buffer.from('Zürich 東京').toString('latin1'), 'x-old': 'Z\xfcrich' };
  let bytes: Buffer = Buffer.alloc(0);
  const gateway = await start(() => [bytes]);
  for (const [status, contentType, body] of [
    ['200 OK', 'text/event-stream', textIn(chat)],
    ['200 OK', 'application/json', '{"object":"ü"}'],
    ['404 Not Found', 'application/json', '{"error":{"message":"ü"}}'],
    ['500 No', 'text/html', '<p>ü'],
  ] as const) {
    for (const path of ['/v1/chat/completions', '/v1/files']) {
      bytes = wholeAnswer(body, { 'content-type': contentType, ...headers }, status);
      const text = await rawAnswer(gateway.url, path, contentType === 'text/event-stream');
      if (contentType === 'text/html' && path !== '/v1/files') continue;
      expect(text, `${status} ${path}`).toContain(`x-name: ${headers['x-name']}\r\n`);
      expect(text, `${status} ${path}`).toContain(`x-old: ${headers['x-old']}\r\n`);
    }
  }
});

test('what a provider says about origins does not count', async () => {
  const theirs = {
    'access-control-allow-origin': '*',
    'access-control-allow-credentials': 'true',
    'access-control-allow-headers': 'x-theirs',
    'access-control-allow-methods': 'PURGE',
    'access-control-expose-headers': 'x-theirs',
    'access-control-max-age': '1',
    vary: 'x-theirs, Accept-Encoding',
  };
  let bytes: Buffer = Buffer.alloc(0);
  const gateway = await start(() => [bytes]);
  const origin = 'http://localhost:3000';
  for (const [status, contentType, body] of [
    ['200 OK', 'text/event-stream', textIn(chat)],
    ['200 OK', 'application/json', '{}'],
    ['404 Not Found', 'application/json', '{"error":{}}'],
  ] as const) {
    bytes = wholeAnswer(body, { 'content-type': contentType, ...theirs }, status);
    const { headers } = await postChat(gateway.url, 'm', { headers: { origin } });
    expect(headers.get('access-control-allow-origin')).toBe(origin);
    expect(headers.get('vary')).toBe('Origin');
    expect(headers.get('access-control-expose-headers')).toBe('*');
    expect([...headers.values()].join()).not.toContain('theirs');
    for (const name of ['credentials', 'headers', 'methods'])
      expect(headers.get(`access-control-allow-${name}`)).toBe(null);
    expect(headers.get('access-control-max-age')).toBe(null);
  }
});

describe('comments of a queue', () => {
  async function queued(settings: string, count: number): Promise<{ text: string; ms: number }> {
    const comments = Array.from({ length: count }, () => chunk(': processing\n\n'));
    const provider = await startRawProvider((_asked, socket) => {
      void (async () => {
        socket.write(head('content-type: text/event-stream', 'transfer-encoding: chunked'));
        for (const comment of comments) {
          socket.write(comment);
          await sleep(100);
        }
        if (count === 0) return;
        socket.write(chunk(textIn(chat)));
        socket.end(lastChunk);
      })();
    });
    const upstream = `url=${provider.url}/v1${settings}`;
    const gateway = await startGateway(['--upstream', upstream, '--idle-timeout-ms', '500']);
    const startedMs = performance.now();
    const text = await (await postChat(gateway.url, 'm')).text();
    return { text, ms: performance.now() - startedMs };
  }

  test('are no life by themselves', async () => {
    const { text } = await queued('', 30);
    expect(codeOf(text)).toBe('upstream_idle');
    expect(text).toContain('500 ms (idleTimeoutMs)');
  });

  test('are for as long as their provider may have one', async () => {
    const { text } = await queued(',queueTimeoutMs=60000', 15);
    expect(payloads(text)).toEqual(payloads(textIn(chat)));
  });

  test('and not for longer', async () => {
    const { ms, text } = await queued(',queueTimeoutMs=1000', 1000);
    expect(codeOf(text)).toBe('upstream_idle');
    expect(text).toContain('1000 ms (queueTimeoutMs)');
    expect(ms).toBeGreaterThan(900);
  });

  test('and silence is none', async () => {
    const { text } = await queued(',queueTimeoutMs=600000', 0);
    expect(codeOf(text)).toBe('upstream_idle');
    expect(text).toContain('500 ms (idleTimeoutMs)');
  });
});
