import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { request } from 'undici';
import { lineWith } from './support/log-lines.ts';
import { type RunningGateway, startGateway, startSimulator } from './support/processes.ts';
import { openRaw } from './support/raw-request.ts';
import { chatBody, openai, postChat } from './support/requests.ts';
import { anthropicSdk, openaiSdk } from './support/sdks.ts';
import { RawSession } from './support/session.ts';
import { eventually } from './support/spawn.ts';
import { openStream, readEvents } from './support/stream-url.ts';

const uuid = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;
const name = 'x-spillway-request-id';
const user = { role: 'user', content: 'Hello' } as const;

/** A provider that says an id of its own with a whole answer, for OpenAI's API and for Anthropic's. */
async function startNamingProvider(): Promise<{ readonly url: string; readonly seen: string[] }> {
  const seen: string[] = [];
  const server = createServer((asked, response) => {
    seen.push(JSON.stringify(asked.headers));
    asked.resume();
    const isAnthropic = asked.url?.endsWith('/messages') === true;
    response.setHeader(isAnthropic ? 'request-id' : 'x-request-id', 'req_theirs');
    response.setHeader(name, 'of-a-spillway-behind');
    response.setHeader('content-type', 'application/json');
    response.end(
      isAnthropic
        ? '{"type":"message","id":"m","role":"assistant","content":[]}'
        : '{"object":"chat.completion","choices":[]}',
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

async function startNamed(): Promise<{ gateway: RunningGateway; seen: string[] }> {
  const { seen, url } = await startNamingProvider();
  const upstream = `url=${url}/v1 api=anthropic,url=${url}`;
  return { gateway: await startGateway(['--upstream', upstream]), seen };
}

describe('the id of a request', () => {
  test('1.12 stands beside the provider’s, which the official SDKs find where they look for it', async () => {
    const { gateway } = await startNamed();
    const access = { url: gateway.url, apiKey: 'none' };
    const {
      data,
      response,
      request_id: theirs,
    } = await openaiSdk(access)
      .chat.completions.create({ model: 'm', messages: [user] })
      .withResponse();
    expect([Object(data)['_request_id'], theirs]).toEqual(['req_theirs', 'req_theirs']);
    const ours = response.headers.get(name) ?? '';
    expect(ours).toMatch(uuid);
    await lineWith(gateway, 'stream ended', { request: ours, upstreamRequest: 'req_theirs' });

    const message = await anthropicSdk(access)
      .messages.create({ model: 'm', max_tokens: 1, messages: [user] })
      .withResponse();
    expect(Object(message.data)['_request_id']).toBe('req_theirs');
    const second = message.response.headers.get(name) ?? '';
    expect(second).toMatch(uuid);
    expect(second).not.toBe(ours);
    await lineWith(gateway, 'stream ended', { request: second, upstreamRequest: 'req_theirs' });
  });

  test('1.12 is what the official SDKs name in an error of the gateway’s own', async () => {
    const gateway = await startGateway([], { env: { SPILLWAY_API_KEYS: 'alpha' } });
    const access = { url: gateway.url, apiKey: 'wrong' };
    const thrown = async (asked: Promise<unknown>): Promise<unknown> =>
      asked.catch((error: unknown) => error);
    const error = await thrown(openai(gateway.url, access).models.list());
    expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
    const { requestID } = error as { requestID: string };
    await lineWith(gateway, 'request refused', { request: requestID, code: 'invalid_api_key' });
    const other = await thrown(
      anthropicSdk(access).messages.create({ model: 'm', max_tokens: 1, messages: [user] }),
    );
    expect(other).toBeInstanceOf(Anthropic.AuthenticationError);
    const second = other as { requestID: string; error: { request_id: string } };
    expect(second.requestID).toMatch(uuid);
    expect(second.error.request_id).toBe(second.requestID);
    await lineWith(gateway, 'request refused', { request: second.requestID });
    const gemini = await fetch(`${gateway.url}/v1beta/models/m:generateContent`, {
      method: 'POST',
      body: '{}',
    });
    expect(((await gemini.json()) as { error: { details: unknown } }).error.details).toEqual([
      { '@type': 'type.googleapis.com/google.rpc.RequestInfo', requestId: gemini.headers.get(name) },
    ]);
  });

  test('1.12 is in every answer', async () => {
    const gateway = await startGateway(['--max-request-bytes', '1000', '--max-header-bytes', '4096']);
    const { url: stream } = await openStream(gateway.url, 'sim:tokens=5,tps=0,ttft=0');
    const { adminUrl, url } = gateway;
    const seen = new Set<string>();
    const ask = async (
      what: string,
      options: Parameters<typeof request>[1],
      status: number,
      body?: string,
    ): Promise<void> => {
      const answer = await request(what, { ...options, ...(body === undefined ? {} : { body }) });
      await answer.body.dump();
      const id = String(answer.headers[name]);
      expect([answer.statusCode, id], what).toEqual([status, expect.stringMatching(uuid)]);
      seen.add(id);
    };
    const post = { method: 'POST', headers: { 'content-type': 'application/json' } } as const;
    await ask(`${url}/health/live`, {}, 200);
    await ask(`${url}/v1/models`, {}, 200);
    await ask(`${url}/v1/chat/completions`, post, 200, chatBody('sim:tokens=1,tps=0,ttft=0'));
    await ask(`${url}/v1/chat/completions`, post, 500, chatBody('sim:status=500'));
    await ask(`${url}/v1/chat/completions`, post, 400, '{');
    await ask(`${url}/v1/chat/completions`, post, 413, chatBody('x'.repeat(2000)));
    await ask(`${url}/nothing`, {}, 404);
    await ask(`${url}/v1//twice`, {}, 404);
    await ask(`${url}/v1/models`, { headers: { host: 'evil.example' } }, 403);
    await ask(stream, {}, 200);
    await ask(stream, { headers: { accept: 'text/event-stream' } }, 200);
    await ask(stream, { method: 'HEAD' }, 200);
    await ask(`${stream}x`, {}, 404);
    await ask(
      `${url}/v1/models`,
      { method: 'OPTIONS', headers: { origin: 'http://localhost', 'access-control-request-method': 'GET' } },
      204,
    );
    await ask(stream, { method: 'DELETE' }, 204);
    await ask(`${adminUrl}/metrics`, {}, 200);
    await ask(`${adminUrl}/nothing`, {}, 404);
    await ask(`${adminUrl}/`, {}, 200);
    expect(seen.size).toBe(18);
    // What Node answers by itself, or what cannot be read.
    const asked: readonly (readonly [Record<string, string>, number])[] = [
      [{ expect: 'a miracle', 'content-length': '2' }, 404],
      [{ cookie: 'x'.repeat(9000) }, 431],
      [{ 'content-length': 'many' }, 400],
      [{ connection: 'upgrade', upgrade: 'websocket' }, 404],
    ];
    for (const [headers, status] of asked) {
      const raw = await openRaw(url, headers, { path: '/nothing' });
      raw.socket.write('{{');
      await eventually(() => raw.answer().includes('\r\n\r\n'), 'an answer');
      expect(raw.answer()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      expect(new RegExp(`^${name}: (.*)\r$`, 'im').exec(raw.answer())?.[1]).toMatch(uuid);
      raw.socket.destroy();
    }
  });

  test('5.2 is in the answers of a session, and of its upgrade', async () => {
    const gateway = await startGateway();
    const session = new RawSession(gateway.url);
    const head = new Promise<string>((resolve) => {
      session.socket.on('upgrade', (response) => resolve(String(response.headers[name])));
    });
    await eventually(() => session.of('open').length === 1, 'the session to open');
    expect(await head).toMatch(uuid);
    session.send({ type: 'open', windowBytes: 65_536 });
    const asked = { method: 'POST', headers: { 'content-type': 'application/json' }, windowBytes: 65_536 };
    const reader = (index: number): string => `${index}`.repeat(22);
    session.send({
      type: 'request',
      stream: 1,
      reader: reader(1),
      path: '/v1/chat/completions',
      body: chatBody('sim:tokens=3,tps=0,ttft=0'),
      ...asked,
    });
    session.send({ type: 'request', stream: 2, reader: reader(2), path: '/nothing', body: '{}', ...asked });
    session.send({
      type: 'read',
      stream: 3,
      reader: reader(3),
      url: '/streams/none',
      headers: {},
      from: 0,
      overflow: 'block',
      windowBytes: 65_536,
    });
    await eventually(
      () => session.of('error', 3).length === 1 && session.of('end', 2).length === 1,
      'answers',
    );
    await eventually(() => session.of('response', 1).length === 1, 'an answer');
    const ids = [1, 2].map((stream) => session.of('response', stream)[0]?.headers[name] ?? '');
    const refused = session.of('error', 3)[0]?.request ?? '';
    for (const id of [...ids, refused]) expect(id).toMatch(uuid);
    await lineWith(gateway, 'request refused', { request: ids[1], method: 'POST', path: '/nothing' });
    await lineWith(gateway, 'request refused', { request: refused, method: 'read', code: 'not_found' });
    session.socket.close();
    await lineWith(gateway, 'stream ended', { request: ids[0] });
  });

  test('of somebody else is noted if it is short and plain, and goes to the provider as it came', async () => {
    const { gateway, seen } = await startNamed();
    for (const [theirs, noted] of [
      ['edge-17:a/b', 'edge-17:a/b'],
      ['x'.repeat(129), undefined],
      ['a b', undefined],
      ['{"msg":"forged"}', undefined],
    ] as const) {
      const answer = await postChat(gateway.url, 'm', {
        headers: { 'x-request-id': theirs, [name]: 'forged' },
      });
      await answer.text();
      const ours = answer.headers.get(name);
      expect(ours).toMatch(uuid);
      const line = await lineWith(gateway, 'stream ended', { request: ours });
      expect(line['clientRequest']).toBe(noted);
      expect(JSON.parse(seen.at(-1) ?? '')).toMatchObject({ 'x-request-id': theirs });
      expect(seen.at(-1)).not.toContain('forged"'.replace('"', '') + '","');
      expect((JSON.parse(seen.at(-1) ?? '{}') as Record<string, unknown>)[name]).toBeUndefined();
    }
  });

  test('of a later reader of a stream leads to a line that names the stream', async () => {
    const simulator = await startSimulator();
    const gateway = await startGateway(['--upstream', `${simulator.url}/v1`]);
    const { response, url } = await openStream(gateway.url, 'sim:tokens=50,tps=100,ttft=0');
    const second = await readEvents(url);
    await Promise.all([response.text(), second.text()]);
    const line = await lineWith(gateway, 'reader ended', { request: second.headers.get(name) });
    const ended = await lineWith(gateway, 'stream ended', { request: response.headers.get(name) });
    expect(line).toMatchObject({
      stream: ended['stream'],
      reader: 2,
      via: 'event-source',
      ended: 'delivered',
    });
    expect(ended['readers']).toBe(2);
  });
});
