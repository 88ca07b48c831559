import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually, startBoth, startGateway } from './support/processes.ts';
import { readers, upstreamFor } from './support/readers.ts';
import { metric, payloads, postChat, rawChat, simulatorStats } from './support/requests.ts';
import { within } from '../../core/test/support/within.ts';

function codeOf(text: string): string {
  return (JSON.parse(payloads(text).at(-1) ?? text) as { error: { code: string } }).error.code;
}

describe('limits on what a provider sends', () => {
  test.each([
    [
      'a line of 8 MB',
      ['--max-event-bytes', '1048576'],
      'sim:line=8000000,tokens=1000000,tps=0,ttft=0',
      'event_too_large',
    ],
    [
      'a line of 8 MB in small pieces',
      ['--max-event-bytes', '1048576'],
      'sim:line=8000000,tokens=1000000,tps=0,ttft=0,split=1000',
      'event_too_large',
    ],
    [
      'a reply without end',
      ['--max-stream-bytes', '100000'],
      'sim:tokens=1000000,tps=0,ttft=0',
      'stream_too_large',
    ],
    [
      '2.7 nothing but comments',
      ['--idle-timeout-ms', '500'],
      'sim:comments=2,tps=0,ttft=0',
      'upstream_idle',
    ],
    ['silence after some tokens', ['--idle-timeout-ms', '500'], 'sim:stall=2,tps=0,ttft=0', 'upstream_idle'],
    [
      'an hour of tokens',
      ['--max-duration-ms', '500'],
      'sim:tokens=1000000,tps=100,ttft=0',
      'stream_timeout',
    ],
  ])('%s fails the stream and closes the upstream', async (_what, args, model, code) => {
    const { gateway, simulator } = await startBoth(args);
    const text = await (await postChat(gateway.url, model)).text();
    expect(codeOf(text)).toBe(code);
    expect(text).not.toContain('[DONE]');
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="failed"}')).toBe(1);
  });

  test('an event may be as large as the limit, although the window is smaller', async () => {
    const gateway = await startGateway();
    const text = await (await postChat(gateway.url, 'sim:line=1000000,tokens=3,tps=0,ttft=0')).text();
    expect(payloads(text).at(-1)).toBe('[DONE]');
    expect(text.length).toBeGreaterThan(1_000_000);
  });

  test('in one event, megabytes of text are as many tokens as in many', async () => {
    const gateway = await startGateway(['--tenant', 'name=*,answerTokens=20000']);
    const text = await (await postChat(gateway.url, 'sim:line=400000,tokens=2000,tps=50,ttft=0')).text();
    expect(text).toContain('"spillway":{"reason":"limit","limit":"answerTokens"');
    const [, completion] = /"completion_tokens":(\d+)/.exec(text) ?? [];
    expect(Number(completion)).toBeGreaterThan(95_000);
  });

  test.each(readers)('endless response headers, read by %s', async (reader) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => socket.write(`x-${'y'.repeat(4000)}: z\r\n`), 1);
      socket.on('close', () => clearInterval(timer));
    });
    onTestFinished(() => void server.close());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const gateway = await startGateway(['--upstream', upstreamFor(reader, `http://127.0.0.1:${port}/v1`)]);
    const response = await postChat(gateway.url, 'm');
    expect(response.status).toBe(502);
    expect(codeOf(await response.text())).toBe('upstream_invalid');
  });

  test.each(readers)('something that is not HTTP, read by %s', async (reader) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('SSH-2.0-OpenSSH\r\n');
    });
    onTestFinished(() => void server.close());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const gateway = await startGateway(['--upstream', upstreamFor(reader, `http://127.0.0.1:${port}/v1`)]);
    expect((await postChat(gateway.url, 'm')).status).toBe(502);
  });
});

describe('limits on how much is done at once', () => {
  test('one more waits, one more than that is refused, and nobody waits for ever', async () => {
    const { gateway } = await startBoth([
      '--max-streams',
      '1',
      '--max-waiting',
      '1',
      '--wait-timeout-ms',
      '2000',
    ]);
    await rawChat(gateway.url, 'sim:stall=1');
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams{state="streaming"}')) === 1,
      'the first to run',
    );
    const waits = postChat(gateway.url, 'sim');
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams{state="waiting"}')) === 1,
      'the second to wait',
    );
    for (const response of [await postChat(gateway.url, 'sim'), await waits]) {
      expect(response.status).toBe(503);
      expect(response.headers.get('retry-after')).toBe('1');
      expect(codeOf(await response.text())).toBe('overloaded');
    }
  });

  test('a place that becomes free goes to whoever waits', async () => {
    const { gateway } = await startBoth(['--max-streams', '1']);
    const texts = await Promise.all(
      Array.from({ length: 10 }, async () =>
        (await postChat(gateway.url, 'sim:tokens=2,tps=0,ttft=0')).text(),
      ),
    );
    for (const text of texts) expect(payloads(text).at(-1)).toBe('[DONE]');
  });

  test.each(readers)(
    'a request that its provider answers and does not read is held, and has a deadline, read by %s',
    async (reader) => {
      const provider = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => {
          socket.pause();
          socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n');
        });
      });
      await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve));
      onTestFinished(() => void provider.close());
      const url = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`;
      const args = [
        '--upstream',
        upstreamFor(reader, url),
        '--max-request-memory-bytes',
        '50000000',
        '--response-timeout-ms',
        '4000',
      ];
      const gateway = await startGateway(args);
      // More than the kernels between them take.
      const body = JSON.stringify({ model: 'm', stream: true, x: ' '.repeat(30_000_000) });
      const ask = (): Promise<Response> =>
        fetch(`${gateway.url}/v1/chat/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body,
        });
      const first = await ask();
      expect(first.status).toBe(200);
      expect((await ask()).status).toBe(503);
      const text = await within(first.text(), 'the deadline');
      expect(codeOf(text)).toBe('upstream_timeout');
      const again = await ask();
      expect(again.status).toBe(200);
      await again.body?.cancel();
    },
  );

  test('request bodies together, as long as they may have to be sent again', async () => {
    const gateway = await startGateway(['--max-request-memory-bytes', '900']);
    const streams = async (state: string): Promise<number> =>
      await metric(gateway.adminUrl, `spillway_streams{state="${state}"}`);
    const long = ' '.repeat(400);

    const unanswered = await rawChat(gateway.url, `sim:headers=3600000${long}`);
    await eventually(async () => (await streams('opening')) === 1, 'the first to be sent');
    const response = await postChat(gateway.url, `sim:${long}`);
    expect(response.status).toBe(503);
    expect(codeOf(await response.text())).toBe('overloaded');
    unanswered.socket.destroy();
    await eventually(async () => (await streams('opening')) === 0, 'the first to be gone');

    for (const count of [1, 2]) {
      await rawChat(gateway.url, `sim:stall=1${long}`);
      await eventually(async () => (await streams('streaming')) === count, 'an answer to begin');
    }
  });
});

test('what goes on without the gateway does not reach a provider under a budget, as a request or a member of one', async () => {
  let asked = 0;
  const server = createHttpServer((request, response) => {
    asked += 1;
    request
      .resume()
      .on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const gateway = await startGateway(
    [
      '--upstream',
      url,
      '--upstream',
      `name=g,api=gemini,url=${url}`,
      '--upstream',
      `name=a,api=azure,url=${url}`,
      '--upstream',
      `name=o,api=ollama,url=${url}`,
      '--upstream',
      `name=c,api=anthropic,url=${url}`,
      '--tenant',
      'name=clinic,tokensPerDay=100000',
      '--tenant',
      'name=lab,streams=5',
    ],
    { env: { SPILLWAY_API_KEYS: 'clinic=sk-web,lab=sk-lab' } },
  );
  const ask = async (key: string, path: string, body: object): Promise<number> => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const response = await fetch(`${gateway.url}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    });
    await response.text();
    return response.status;
  };
  for (const [path, body] of [
    ['/v1/batches', { input_file_id: 'f', endpoint: '/v1/responses', completion_window: '24h' }],
    ['/v1/realtime/client_secrets', {}],
    ['/v1/responses', { model: 'gpt', input: 'x', background: true }],
    ['/v1/chat/completions', { model: 'grok', messages: [], deferred: true }],
    // Of providers that nobody here knows, and what a provider may read as one of them.
    ['/v1beta/tunedModels', {}],
    ['/v1/batch/jobs', {}],
    ['/v1/video/generations/jobs', {}],
    ['/v1/chatkit/sessions', {}],
    ['/v1/threads/runs', {}],
    ['/v1/agents/completions', {}],
    ['/v1beta/openai/chat/completions', { model: 'gemini', messages: [] }],
    ['/v1/batches;x=/embeddings', {}],
    ['/v1/batches%3Fx=/embeddings', {}],
  ] as const) {
    expect(await ask('sk-web', path, body)).toBe(403);
    expect(asked).toBe(0);
    expect(await ask('sk-lab', path, body)).toBe(200);
    asked = 0;
  }
  for (const [path, body] of [
    ['/v1/responses', { model: 'gpt', input: 'x', background: false }],
    ['/v1/embeddings', { model: 'small', input: 'x' }],
    ['/v1/audio/speech', { model: 'tts', input: 'x' }],
    ['/v1/rerank', { model: 'rerank', query: 'x', documents: [] }],
    ['/v1/threads/thread_1/messages', { role: 'user', content: 'x' }],
    ['/v1/messages/count_tokens', { model: 'claude', messages: [] }],
    ['/v1beta/models/embedding-001:embedContent', { content: {} }],
    // A name like those of work that goes on elsewhere.
    ['/openai/deployments/realtime/embeddings', { input: 'x' }],
    ['/api/embed', { model: 'small', input: 'x' }],
  ] as const)
    expect([path, await ask('sk-web', path, body)]).toEqual([path, 200]);
});
