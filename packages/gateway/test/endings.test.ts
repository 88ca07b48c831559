import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import OpenAI from 'openai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually, gatewayForAll, startBoth, startGateway, startSimulator } from './support/processes.ts';
import { metric, openai, payloads, postChat, simulatorStats } from './support/requests.ts';

interface ErrorBody {
  readonly error: { readonly code: string; readonly type: string; readonly message: string };
}

describe('promise 7: a cut stream is never completed', () => {
  test('2.2 and 2.3 cut at every byte', async () => {
    const { gateway, simulator } = await startBoth(['--log-level', 'silent']);
    const model = 'sim:tokens=2,tps=0,ttft=0';
    const whole = await (await postChat(simulator.url, model)).text();
    const marker = whole.indexOf('data: [DONE]') + 'data: [DONE]'.length;
    const cuts = Array.from({ length: whole.length }, (_, cut) => cut);
    let completed = 0;
    const checkOne = async (cut: number): Promise<void> => {
      const response = await postChat(gateway.url, model, { headers: { 'x-simulate': `cut=${cut}` } });
      const text = await response.text();
      if (cut >= marker) {
        completed += 1;
        expect(payloads(text).at(-1), `cut at ${cut}`).toBe('[DONE]');
        return;
      }
      expect(text, `cut at ${cut}`).not.toContain('[DONE]');
      const last = response.status === 200 ? payloads(text).at(-1) : text;
      const { error } = JSON.parse(last ?? '') as ErrorBody;
      expect(error.code, `cut at ${cut}`).toBe('upstream_cut');
      // Nothing but whole events was handed on before.
      for (const payload of response.status === 200 ? payloads(text) : []) JSON.parse(payload);
      if (cut < whole.indexOf('\n\n') + 2) expect(response.status).toBe(502);
    };
    const lanes = Array.from({ length: 8 }, async () => {
      for (let cut = cuts.pop(); cut !== undefined; cut = cuts.pop()) await checkOne(cut);
    });
    await Promise.all(lanes);
    expect(completed).toBe(whole.length - marker);
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="completed"}')).toBe(completed);
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="failed"}')).toBe(marker);
  });

  test('what stops being valid HTTP is told as that, and not as a cut', async () => {
    const event = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n';
    const chunk = `${event.length.toString(16)}\r\n${event}\r\n`;
    const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
    let garble = (): void => undefined;
    const provider = createServer((socket) => {
      socket.on('error', () => undefined).once('data', () => socket.write(head + chunk));
      garble = () => void socket.write('zz\r\n');
    });
    await once(provider.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void provider.close());
    const { port } = provider.address() as AddressInfo;
    const gateway = await startGateway(['--upstream', `http://127.0.0.1:${port}/v1`]);
    const { body } = await postChat(gateway.url, 'any');
    let text = '';
    for await (const piece of body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += piece;
      garble();
    }
    expect(payloads(text)[0]).toContain('"x"');
    expect((JSON.parse(payloads(text).at(-1) ?? '') as ErrorBody).error).toMatchObject({
      code: 'upstream_invalid',
      message:
        "The provider's answer stopped being valid HTTP in its midst. The response is not valid HTTP/1.1: the size of a chunk.",
    });
  });

  test('2.3 an orderly end without the marker and without a reason is no end', async () => {
    const gateway = await startGateway();
    const text = await (await postChat(gateway.url, 'sim:tokens=2,tps=0,ttft=0,unfinished')).text();
    expect(text).not.toContain('[DONE]');
    expect((JSON.parse(payloads(text).at(-1) ?? '') as ErrorBody).error.code).toBe('upstream_cut');
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="failed"}')).toBe(1);
  });

  test.each([
    ['openai-completions', '/v1/completions', '[DONE]'],
    ['openai-responses', '/v1/responses', '{"type":"response.completed"'],
    ['anthropic-messages', '/v1/messages', '{"type":"message_stop"}'],
    ['gemini', '/v1beta/models/sim:streamGenerateContent?alt=sse', undefined],
  ])('2.2 and 2.3 cut in %s', async (_format, path, marker) => {
    const { gateway, simulator } = await startBoth(['--log-level', 'silent']);
    const send = async (url: string, simulate: string): Promise<Response> =>
      await fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-simulate': `tokens=2,tps=0,ttft=0,${simulate}` },
        body: '{"model": "sim", "stream": true}',
      });
    const whole = await (await send(simulator.url, 'batch=1')).text();
    // The last word of Gemini may be followed by more: only HTTP says that it is whole.
    const end = marker === undefined ? Infinity : whole.lastIndexOf('\n\n');
    const cuts = Array.from({ length: whole.length + 1 }, (_, cut) => cut).filter(
      (cut) => cut % 7 === 0 || cut > whole.length - 40,
    );
    for (const cut of cuts) {
      const response = await send(gateway.url, `cut=${cut}`);
      const text = await response.text();
      const found = response.status === 200 ? payloads(text) : [text];
      const last = found.at(-1) ?? '';
      if (cut >= end) {
        expect(last.startsWith(marker ?? '?'), `cut at ${cut}`).toBe(true);
        continue;
      }
      expect(last, `cut at ${cut}`).toContain('The provider closed the');
      // Nothing but whole events was handed on before, and not the last one.
      for (const payload of found) {
        JSON.parse(payload);
        if (marker !== undefined) expect(payload.startsWith(marker)).toBe(false);
      }
    }
  });

  test('2.3 a body that HTTP says is whole, with an event cut behind the last word, is not complete', async () => {
    const last = 'data: {"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}\r\n\r\n';
    for (const [rest, isWhole] of [
      ['', true],
      [': ping', true],
      ['data: {"usageMetadata":{"totalTo', false],
    ] as const) {
      const body = last + rest;
      const provider = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => {
          socket.write(
            `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
          );
        });
      });
      provider.listen(0, '127.0.0.1');
      await once(provider, 'listening');
      onTestFinished(() => void provider.close());
      const url = `http://127.0.0.1:${(provider.address() as AddressInfo).port}`;
      const gateway = await startGateway(['--upstream', `name=g,api=gemini,url=${url}`]);
      const response = await fetch(`${gateway.url}/v1beta/models/m:streamGenerateContent?alt=sse`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      });
      const text = await response.text();
      expect(text.includes('The provider closed the'), rest).toBe(!isWhole);
      const state = isWhole ? 'completed' : 'failed';
      expect(await metric(gateway.adminUrl, `spillway_streams_ended_total{state="${state}"}`), rest).toBe(1);
    }
  });

  test('the official SDK throws', async () => {
    const gateway = await startGateway();
    const stream = await openai(gateway.url).chat.completions.create({
      model: 'sim:tokens=50,tps=0,ttft=0,cut=2000',
      messages: [],
      stream: true,
    });
    const read = async (): Promise<void> => {
      for await (const _ of stream);
    };
    await expect(read()).rejects.toThrow(OpenAI.APIError);
  });
});

describe('the body of an error', () => {
  test.each([
    ['stalls', 0],
    ['drips', 50],
  ])('that %s keeps nobody from its status', async (_how, dripMs) => {
    const provider = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.resume();
      socket.write('HTTP/1.1 429 Slow\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{');
      const drip = dripMs === 0 ? undefined : setInterval(() => socket.write(' '), dripMs);
      socket.on('close', () => clearInterval(drip));
    });
    provider.listen(0, '127.0.0.1');
    await once(provider, 'listening');
    onTestFinished(() => void provider.close());
    const url = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`;
    const gateway = await startGateway(['--upstream', url, '--retries', '0', '--response-timeout-ms', '300']);
    const response = await postChat(gateway.url, 'm');
    expect(response.status).toBe(429);
    expect(((await response.json()) as ErrorBody).error.code).toBe('upstream_invalid');
    // Its connection is closed.
    await eventually(() => openSockets(provider).then((count) => count === 0), 'the connection to be closed');
  });
});

async function openSockets(server: Server): Promise<number> {
  return await new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

describe('an error in the middle of a stream', () => {
  test('2.4 is handed on as the provider wrote it, once', async () => {
    const gateway = await startGateway();
    const text = await (await postChat(gateway.url, 'sim:tokens=9,error=2,tps=0,ttft=0')).text();
    const errors = payloads(text).filter((payload) => payload.includes('"error"'));
    expect(errors).toHaveLength(1);
    expect((JSON.parse(errors[0] ?? '') as ErrorBody).error.code).toBe('simulated_failure');
    expect(text).not.toContain('[DONE]');
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="failed"}')).toBe(1);
  });
});

describe('the simulated provider says which field of a request it does not understand', () => {
  test.each([
    ['/v1/chat/completions', { model: 'sim', stream: 'yes' }, 'stream: expected boolean, got string.'],
    [
      '/v1/chat/completions',
      { model: 'sim', stream: true, stream_options: { include_usage: 1 } },
      'stream_options.include_usage: expected boolean, got number.',
    ],
    ['/v1/embeddings', { model: 'sim' }, 'input: expected string or array, got undefined.'],
    ['/v1/messages/count_tokens', { model: 'sim' }, 'messages: expected array, got undefined.'],
    ['/v1/chat/completions', [], 'The body: expected object, got array.'],
    [
      '/v1/chat/completions',
      { model: 'sim:eol=lfcr' },
      'eol: Invalid option: expected one of "lf"|"crlf"|"cr", got "lfcr".',
    ],
    ['/v1/chat/completions', { model: 'sim:tps=fast' }, 'tps: expected number, got "fast".'],
  ])('%s %j', async (path, body, message) => {
    const { url } = await startSimulator();
    const answer = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) });
    expect([answer.status, ((await answer.json()) as ErrorBody).error]).toMatchObject([
      400,
      { code: 'invalid_behaviour', message },
    ]);
  });
});

describe('an error before the first byte has its status and the provider’s shape', () => {
  const shared = gatewayForAll();

  test.each([
    ['sim:status=429,retryAfter=60', 429, 'simulated_429', '60'],
    ['sim:status=401', 401, 'simulated_401', null],
    ['sim:status=400', 400, 'simulated_400', null],
    ['sim:html,status=200', 502, 'upstream_invalid', null],
    ['sim:status=302', 302, 'simulated_302', null],
    ['sim:hangup', 502, 'upstream_cut', null],
    ['sim:no-such-behaviour', 400, 'invalid_behaviour', null],
  ])('%s', async (model, status, code, retryAfter) => {
    for (const stream of [true, false]) {
      const response = await postChat(shared().url, model, { stream });
      expect(response.status).toBe(status);
      expect(((await response.json()) as ErrorBody).error.code).toBe(code);
      expect(response.headers.get('retry-after')).toBe(retryAfter);
      // The provider has answered, and an SDK alone would not have asked again.
      const isOwnWord = code === 'upstream_invalid';
      expect(response.headers.get('x-should-retry')).toBe(isOwnWord ? 'false' : null);
    }
  });

  test('a provider that is not there', async () => {
    const gateway = await startGateway(['--upstream', 'http://127.0.0.1:1/v1']);
    const response = await postChat(gateway.url, 'm');
    expect(response.status).toBe(502);
    expect(((await response.json()) as ErrorBody).error.code).toBe('upstream_unreachable');
    expect(await metric(gateway.adminUrl, 'spillway_retries_total')).toBe(2);
    expect(response.headers.get('x-should-retry')).toBe(null);
  });

  test('a provider that does not answer', async () => {
    const gateway = await startGateway(['--response-timeout-ms', '300']);
    const response = await postChat(gateway.url, 'sim:headers=600000');
    expect(response.status).toBe(504);
    expect(((await response.json()) as ErrorBody).error).toMatchObject({
      code: 'upstream_timeout',
      message: 'The provider did not begin to answer in time (responseTimeoutMs).',
    });
  });

  test('1.5 a request that may have been worked on is not sent again', async () => {
    const { gateway, simulator } = await startBoth();
    expect((await postChat(gateway.url, 'sim:hangup')).status).toBe(502);
    for (const status of [429, 500, 503]) {
      expect((await postChat(gateway.url, `sim:status=${status}`)).status).toBe(status);
    }
    expect(await simulatorStats(simulator.url)).toHaveLength(4);
  });

  test('1.5 a provider that is busy is asked again where that is configured', async () => {
    const gateway = await startGateway(['--retries', '2']);
    const text = await (await postChat(gateway.url, 'sim:status=503,times=2,tokens=1,tps=0,ttft=0')).text();
    expect(payloads(text).at(-1)).toBe('[DONE]');
    expect(await metric(gateway.adminUrl, 'spillway_retries_total')).toBe(2);
  });
});

describe('requests that are wrong', () => {
  const shared = gatewayForAll(['--max-request-bytes', '2000']);

  test.each([
    ['POST', '/v1/chat/completions', 'application/json', '{"messages": ', 400, 'invalid_request'],
    [
      'POST',
      '/v1/chat/completions',
      'application/json',
      `{"model": "${'x'.repeat(3000)}"}`,
      413,
      'request_too_large',
    ],
    ['POST', '/v1/nothing', 'application/json', '{}', 404, 'not_found'],
  ])('%s %s %s', async (method, path, contentType, body, status, code) => {
    const response = await fetch(shared().url + path, {
      method,
      headers: { 'content-type': contentType },
      body,
    });
    expect(response.status).toBe(status);
    expect(((await response.json()) as ErrorBody).error.code).toBe(code);
  });

  test('headers without end', async () => {
    const response = await fetch(`${shared().url}/v1/models`, { headers: { 'x-long': 'x'.repeat(20_000) } });
    expect(response.status).toBe(431);
    expect(((await response.json()) as ErrorBody).error.code).toBe('headers_too_large');
  });

  test('a body that does not come', async () => {
    const gateway = await startGateway(['--request-timeout-ms', '500']);
    const { hostname, port } = new URL(gateway.url);
    const socket = connect(Number(port), hostname);
    socket.write(
      'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{',
    );
    let text = '';
    for await (const chunk of socket.setEncoding('utf8') as AsyncIterable<string>) text += chunk;
    expect(text).toMatch(/^HTTP\/1.1 408 Request Timeout/);
    expect(text).toContain('"code":"request_timeout"');
  });
});
