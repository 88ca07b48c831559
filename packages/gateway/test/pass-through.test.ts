import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as httpRequest,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { toFile } from 'openai';
import { request } from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { metric } from './support/requests.ts';
import { type Access, openaiSdk } from './support/sdks.ts';
import { type Command, eventually, printed, spawnSpillway } from './support/spawn.ts';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** The provider notes what it was sent, and answers as the test says. */
const seen: Seen[] = [];
let answer: (response: ServerResponse) => void;
const provider = createServer((incoming, response) => {
  const chunks: Buffer[] = [];
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
  incoming.on('end', () => {
    const { method = '', url = '', headers } = incoming;
    seen.push({ method, url, headers, body: Buffer.concat(chunks) });
    answer(response);
  });
});

/** A gateway with the provider behind each of its APIs, below a path of its own for OpenAI's. */
let gateway: Command;
let at: Access;
let adminUrl: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`;
  const upstreams = [
    `name=o,url=${url}/base/v1`,
    `name=a,api=anthropic,url=${url}`,
    `name=g,api=gemini,url=${url}`,
  ];
  const limits = ['--max-request-bytes', '200000', '--keep-alive-ms', '100'];
  const ports = ['--port', '0', '--admin-port', '0'];
  gateway = spawnSpillway(['serve', '--upstream', upstreams.join(' '), ...ports, ...limits]);
  at = { url: await printed(gateway, /Spillway on (\S+)/), apiKey: 'k' };
  adminUrl = await printed(gateway, /metrics (\S+)\/metrics/);
});
beforeEach(() => {
  seen.length = 0;
});
afterAll(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.exited;
  provider.closeAllConnections();
  provider.close();
});

/** How the stream of a path ended, for which only one test asks. */
async function stateOf(path: string): Promise<unknown> {
  return await eventually(() => {
    const lines = gateway.stderr().split('\n').slice(0, -1);
    const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    return entries.find((entry) => entry['msg'] === 'stream ended' && entry['path'] === path)?.['state'];
  }, `the log line of ${path}`);
}

function json(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

describe('1.7 any other path of a provider', () => {
  test('takes a body of any kind as it is', async () => {
    answer = (response) => json(response, { id: 'file-1', object: 'file' });
    const content = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 256));
    const file = await toFile(content, 'data.bin');
    expect((await openaiSdk(at).files.create({ file, purpose: 'assistants' })).id).toBe('file-1');
    expect(seen[0]).toMatchObject({ method: 'POST', url: '/base/v1/files' });
    expect(seen[0]?.headers['content-type']).toMatch(/^multipart\/form-data; boundary=/);
    expect(seen[0]?.body.includes(content)).toBe(true);
  });

  test.each(['DELETE', 'GET', 'PATCH', 'POST', 'PUT'])(
    'keeps its query and its method: %s',
    async (method) => {
      answer = (response) => response.writeHead(204).end();
      const path = `/v1/files/a%2F${method}`;
      const query = '?limit=2&after=x%20y&key=kept';
      const { statusCode, body } = await request(at.url + path + query, { method });
      await body.dump();
      expect(statusCode).toBe(204);
      expect(seen[0]).toMatchObject({ method, url: `/base${path}${query}` });
      expect(await stateOf(path)).toBe('completed');
    },
  );

  test('hands on an answer of any kind as it is', async () => {
    const audio = Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * 7) % 256));
    answer = (response) =>
      response.writeHead(200, { 'content-type': 'audio/mpeg', 'x-request-id': 'r' }).end(audio);
    const speech = await openaiSdk(at).audio.speech.create({ model: 'o/tts', voice: 'alloy', input: 'Hi' });
    expect(speech.headers.get('x-request-id')).toBe('r');
    expect(Buffer.from(await speech.arrayBuffer()).equals(audio)).toBe(true);
    expect(JSON.parse(seen[0]?.body.toString() ?? '')).toMatchObject({ model: 'tts' });
  });

  test.each([
    [404, 'text/html', '<h1>nothing</h1>', 'failed'],
    [409, 'application/json', '{"detail":"another shape"}', 'failed'],
  ])('hands on status %i with %s', async (status, contentType, text, expected) => {
    answer = (response) => response.writeHead(status, { 'content-type': contentType }).end(text);
    const path = `/v1/files/${status}`;
    const response = await fetch(at.url + path);
    expect(response.status).toBe(status);
    expect(await response.text()).toBe(text);
    expect(await stateOf(path)).toBe(expected);
  });

  test('hands on events of a format that nobody knows as bytes', async () => {
    const text = 'event: thread.created\ndata: {"id":1}\n\ndata: [DONE]\n\nbehind the end';
    answer = (response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text);
    const response = await fetch(`${at.url}/v1/threads/runs`, { method: 'POST', body: '{}' });
    expect(await response.text()).toBe(text);
    expect(response.headers.get('x-accel-buffering')).toBe('no');
  });

  test('2.3 is cut where the provider cuts it, and never completed', async () => {
    answer = (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: half', () => response.destroy());
    };
    const response = await fetch(`${at.url}/v1/threads/cut`, { method: 'POST', body: '{}' });
    await expect(response.text()).rejects.toThrow();
    expect(await stateOf('/v1/threads/cut')).toBe('failed');
  });

  test('3.2 is closed when the client has left', async () => {
    const left = Promise.withResolvers<void>();
    answer = (response) => {
      response.on('close', () => left.resolve());
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).write('x');
    };
    const leaving = new AbortController();
    await fetch(`${at.url}/v1/files/f/content`, { signal: leaving.signal });
    leaving.abort();
    await left.promise;
  });

  // Events are written at the pace of their link, and so hardly ever wait for a half-closed connection; these do.
  test('3.2 is closed when a client that does not read has half-closed', async () => {
    const left = Promise.withResolvers<void>();
    answer = (response) => {
      response.on('close', () => left.resolve());
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      response.write(Buffer.alloc(40_000_000));
    };
    const { hostname, port } = new URL(at.url);
    const socket = connect(Number(port), hostname);
    socket.write('GET /v1/files/f/content HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n');
    await eventually(
      async () => (await metric(adminUrl, 'spillway_streams{state="paused"}')) === 1,
      'the provider to wait',
    );
    const byForce = 'spillway_connections_closed_total{listener="client",cause="never_closed"}';
    const before = await metric(adminUrl, byForce);
    socket.end();
    await left.promise;
    // At once, and not when the deadline of a connection that has to close is over.
    expect(await metric(adminUrl, byForce)).toBe(before);
    socket.destroy();
  });

  test('makes the provider wait for a client that does not read', async () => {
    const total = 40_000_000;
    let isDone = false;
    answer = (response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': total });
      response.end(Buffer.alloc(total), () => (isDone = true));
    };
    const { body } = await request(`${at.url}/v1/files/f/content`);
    await eventually(
      async () => (await metric(adminUrl, 'spillway_streams{state="paused"}')) === 1,
      'the provider to wait',
    );
    expect(isDone).toBe(false);
    let bytes = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) bytes += chunk.length;
    expect(bytes).toBe(total);
  });

  test.each([
    ['/v1/../admin', {}],
    ['/v1/%2e%2E/admin', {}],
    ['/v1/files/../../../admin', {}],
    ['/v1/..\\admin', {}],
    ['/v1/../admin', { 'anthropic-version': '2023-06-01' }],
    ['/v1beta/x/../../admin', { 'x-goog-api-key': 'k' }],
  ])('never leads out of the provider’s base: %s %j', async (path, headers) => {
    answer = (response) => json(response, {});
    const { hostname, port } = new URL(at.url);
    // Not with fetch, which would tidy the path up.
    const sent = httpRequest({ hostname, port, path, headers }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(404);
    expect(seen).toEqual([]);
  });

  test('is bounded as streams are', async () => {
    answer = (response) => json(response, {});
    const response = await fetch(`${at.url}/v1/audio/transcriptions`, {
      method: 'POST',
      headers: { 'content-type': 'audio/wav' },
      body: Buffer.alloc(200_001),
    });
    expect(response.status).toBe(413);
    expect(seen).toEqual([]);
  });
});

describe('2.6 an error after a comment was sent', () => {
  test.each([
    ['/v1/chat/completions', undefined, { error: { message: 'No.', code: 'nope' } }],
    ['/v1/responses', 'error', { type: 'error', error: { message: 'No.', code: 'nope' } }],
    ['/v1/messages', 'error', { type: 'error', error: { message: 'No.' } }],
    ['/v1beta/models/m:streamGenerateContent?alt=sse', undefined, { error: { message: 'No.', code: 400 } }],
  ])('is an event of %s', async (path, name, payload) => {
    const commented = Promise.withResolvers<void>();
    answer = (response) => void commented.promise.then(() => json(response, payload, 400));
    const response = await fetch(at.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"model": "m", "stream": true}',
    });
    // The status was sent, so the comment was.
    expect(response.status).toBe(200);
    commented.resolve();
    const lines = (await response.text()).split('\n').filter((line) => line !== '' && line !== ': ping');
    expect(lines.find((line) => line.startsWith('event: '))?.slice(7)).toBe(name);
    expect(JSON.parse(lines.at(-1)?.slice(6) ?? '')).toMatchObject(payload);
  });
});
