import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { speech } from '@spillway/voice/simulate/speech';
import { serveSimulatedModels } from '@spillway/voice/simulate/model';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Certificates, makeCertificates } from './support/certificates.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { eventually, startGateway, startSimulator } from './support/processes.ts';
import { openRealtime, refusedRealtime, startRealtimeProvider, watched } from './support/realtime-peers.ts';
import { metric } from './support/requests.ts';

let certificates: Certificates;
beforeAll(() => {
  certificates = makeCertificates();
});
afterAll(() => certificates.remove());

/** Silence of telephone audio around what is said, so that its end is noticed. */
function spoken(): Buffer {
  const quiet = (ms: number): Buffer => Buffer.alloc(ms * 8, 0xff);
  return Buffer.concat([quiet(300), Buffer.from(speech('caller-hello').audio), quiet(800)]);
}

const telephone = { format: { type: 'audio/pcmu' } } as const;

describe('official clients, through the gateway', () => {
  test("OpenAI's client speaks, is answered, and interrupts", async () => {
    const { certFile, keyFile } = certificates.server;
    const gateway = await startGateway(['--tls-cert-file', certFile, '--tls-key-file', keyFile], {
      env: { SPILLWAY_API_KEYS: 'web=secret-key', SPILLWAY_SIMULATED: 'true' },
    });
    const api = new OpenAI({ apiKey: 'secret-key', baseURL: `${gateway.url}/v1` });
    const client = new OpenAIRealtimeWS(
      { model: 'simulated', options: { ca: certificates.authority.cert } },
      api,
    );
    onTestFinished(() => client.close());
    const types: string[] = [];
    let itemId = '';
    client.on('event', (event) => {
      types.push(event.type);
      if (event.type === 'response.output_audio.delta') itemId = event.item_id;
    });
    client.on('error', () => undefined);
    await eventually(() => types.includes('session.created'), 'a session');
    client.send({
      type: 'session.update',
      session: { type: 'realtime', audio: { input: telephone, output: telephone } },
    });
    const words = spoken();
    for (let at = 0; at < words.length; at += 800)
      client.send({
        type: 'input_audio_buffer.append',
        audio: words.subarray(at, at + 800).toString('base64'),
      });
    await eventually(() => itemId !== '', 'audio');
    client.send({ type: 'response.cancel' });
    client.send({ type: 'conversation.item.truncate', item_id: itemId, content_index: 0, audio_end_ms: 100 });
    await eventually(() => types.includes('conversation.item.truncated'), 'the cut');
    client.close();
    const line = await lineWith(gateway, 'realtime session ended', { caller: 'web' });
    expect(line).toMatchObject({ provider: 'simulated', model: 'simulated', reason: 'client_closed' });
    expect(gateway.stderr()).not.toContain('secret-key');
  });

  test("the client of OpenAI's agents speaks and is answered, with its key in the subprotocol", async () => {
    const gateway = await startGateway([], {
      env: { SPILLWAY_API_KEYS: 'web=secret-key', SPILLWAY_SIMULATED: 'true' },
    });
    const transport = new OpenAIRealtimeWebSocket({
      url: `${gateway.url.replace('http', 'ws')}/v1/realtime?model=simulated`,
      useInsecureApiKey: true,
    });
    const session = new RealtimeSession(new RealtimeAgent({ name: 'library', instructions: 'Answer.' }), {
      transport,
      model: 'simulated',
      tracingDisabled: true,
      config: { audio: { input: telephone, output: telephone } },
    });
    onTestFinished(() => session.close());
    const errors: unknown[] = [];
    session.on('error', (error) => errors.push(error));
    let audioBytes = 0;
    let isDone = false;
    session.on('audio', ({ data }) => (audioBytes += data.byteLength));
    session.on('transport_event', ({ type }) => (isDone ||= type === 'response.done'));
    await session.connect({ apiKey: 'secret-key' });
    const words = spoken();
    for (let at = 0; at < words.length; at += 800)
      session.sendAudio(new Uint8Array(words.subarray(at, at + 800)).buffer);
    await eventually(() => isDone, 'an answer');
    expect(errors).toEqual([]);
    expect(audioBytes).toBeGreaterThan(8000);
    session.close();
    const line = await lineWith(gateway, 'realtime session ended', { caller: 'web' });
    expect(line['outputTokens']).toBeGreaterThan(0);
    expect(gateway.stderr()).not.toContain('secret-key');
  });
});

describe('the relay', () => {
  test('hands on every message as it came, both ways, and the close with its words', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', `url=${provider.url},apiKeyEnv=KEY`], {
      env: { KEY: 'provider-key' },
    });
    const client = await openRealtime(`${gateway.url}/v1/realtime?model=gpt-realtime&x=%20y`, {
      headers: { 'openai-safety-identifier': 'somebody', cookie: 'a=b' },
      protocols: ['realtime'],
    });
    const model = watched(await provider.next());
    expect(client.socket.protocol).toBe('realtime');
    const texts = ['{"type":"session.update"}', '{ "type" :\t"ü\\u0000" }', '', 'x'.repeat(300_000)];
    for (const text of texts) client.socket.send(text);
    client.socket.send(Buffer.from([0, 255, 7]));
    for (const text of texts.toReversed()) model.socket.send(text);
    model.socket.send(Buffer.from([1]));
    await eventually(() => client.messages.length === 5 && model.messages.length === 5, 'all messages');
    expect(model.messages.map(({ data, isBinary }) => (isBinary ? [...data] : data.toString()))).toEqual([
      ...texts,
      [0, 255, 7],
    ]);
    expect(client.messages.map(({ data, isBinary }) => (isBinary ? [...data] : data.toString()))).toEqual([
      ...texts.toReversed(),
      [1],
    ]);
    const [{ headers, url } = { headers: {}, url: '' }] = provider.requests;
    expect(url).toBe('/v1/realtime?model=gpt-realtime&x=%20y');
    expect(headers).toMatchObject({
      authorization: 'Bearer provider-key',
      'openai-safety-identifier': 'somebody',
    });
    expect(headers['cookie']).toBeUndefined();
    expect(headers['sec-websocket-protocol']).toBeUndefined();
    model.socket.close(4321, 'enough said');
    expect(await client.closed).toBe('4321 enough said');
    const line = await lineWith(gateway, 'realtime session ended', { reason: 'provider_closed' });
    expect(line).toMatchObject({ closeCode: 4321, messagesToProvider: 5, messagesToClient: 5 });
    const { adminUrl } = gateway;
    await eventually(
      async () => (await metric(adminUrl, 'spillway_realtime_sessions')) === 0,
      'nothing to be left',
    );
    expect(await metric(adminUrl, 'spillway_realtime_messages_total{to="provider"}')).toBe(5);
    expect(await metric(adminUrl, 'spillway_realtime_relayed_bytes_total{to="client"}')).toBeGreaterThan(
      300_000,
    );
  });

  test('ends the provider’s side when the client leaves, with its code or without a word', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url]);
    const url = `${gateway.url}/v1/realtime?model=m`;
    const polite = await openRealtime(url);
    const first = watched(await provider.next());
    polite.socket.close(3000, 'bye');
    expect(await first.closed).toBe('3000 bye');
    const rude = await openRealtime(url);
    const second = watched(await provider.next());
    rude.socket.terminate();
    expect(await second.closed).toBe('1001');
    await lineWith(gateway, 'realtime session ended', { reason: 'client_lost' });
  });

  test('tells the client that the provider’s connection was lost', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url]);
    const client = await openRealtime(`${gateway.url}/v1/realtime?model=m`);
    (await provider.next()).terminate();
    expect(await client.closed).toBe('1011 The connection to the provider was lost.');
    await lineWith(gateway, 'realtime session ended', { reason: 'provider_lost' });
  });

  test('chooses a provider by the model’s prefix, and Azure’s by the path', async () => {
    const [first, second, azure] = [
      await startRealtimeProvider(),
      await startRealtimeProvider(),
      await startRealtimeProvider(),
    ];
    const base = azure.url.replace('/v1', '');
    const gateway = await startGateway([
      '--upstream',
      `name=one,url=${first.url} name=two,url=${second.url} name=az,api=azure,url=${base}/openai`,
    ]);
    const models = async (path: string): Promise<void> => {
      await openRealtime(gateway.url + path);
    };
    await models('/v1/realtime?model=two/gpt-realtime&intent=x');
    await models('/v1/realtime?model=three/gpt-realtime');
    await models('/openai/realtime?api-version=1&deployment=az/mine');
    await models('/openai/v1/realtime?model=mine');
    expect(second.requests.map(({ url }) => url)).toEqual(['/v1/realtime?model=gpt-realtime&intent=x']);
    expect(first.requests.map(({ url }) => url)).toEqual(['/v1/realtime?model=three/gpt-realtime']);
    expect(azure.requests.map(({ url }) => url)).toEqual([
      '/openai/realtime?api-version=1&deployment=mine',
      '/openai/v1/realtime?model=mine',
    ]);
    expect(await metric(gateway.adminUrl, 'spillway_models_unknown_prefix_total')).toBe(1);
    const refusal = await refusedRealtime(`${gateway.url}/v1/realtime?model=a&model=b`);
    expect(refusal.status).toBe(400);
  });

  test('are at paths that are told to who asks for another one', async () => {
    const gateway = await startGateway();
    const refusal = await refusedRealtime(`${gateway.url}/v1/live`);
    expect(refusal.status).toBe(404);
    expect(refusal.body).toContain(
      'WebSockets are at /streams, /v1/realtime, /openai/realtime, /openai/v1/realtime, /voice/twilio.',
    );
    const provider = await startRealtimeProvider();
    const other = await startGateway(['--upstream', provider.url]);
    expect((await refusedRealtime(`${other.url}/v1/live`)).body).toContain('/openai/v1/realtime.');
  });

  test('answers with the provider’s own refusal before the upgrade', async () => {
    const body = '{"error":{"message":"slow down","code":"rate_limit_exceeded"}}';
    const provider = await startRealtimeProvider((_request, socket) => {
      socket.end(
        `HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-type: application/json\r\nset-cookie: a=b\r\n` +
          `content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
      );
    });
    const gateway = await startGateway(['--upstream', provider.url]);
    const refusal = await refusedRealtime(`${gateway.url}/v1/realtime?model=m`);
    expect(refusal).toMatchObject({ status: 429, body });
    expect(refusal.headers).toMatchObject({ 'retry-after': '7', 'content-type': 'application/json' });
    expect(refusal.headers['set-cookie']).toBeUndefined();
    expect(refusal.headers['x-spillway-request-id']).toEqual(expect.stringMatching(/^[\da-f-]{36}$/));
    await lineWith(gateway, 'request refused', { status: 429, path: '/v1/realtime' });
  });

  test('answers for a provider that cannot be reached, or speaks no WebSocket', async () => {
    const gateway = await startGateway(['--upstream', 'http://127.0.0.1:1/v1']);
    const url = `${gateway.url}/v1/realtime?model=m`;
    const unreachable = await refusedRealtime(url);
    expect(unreachable.status).toBe(502);
    expect(unreachable.body).toContain('upstream_unreachable');
    const odd = await startRealtimeProvider((_request, socket) => {
      socket.end('HTTP/1.1 101 ok\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n');
    });
    const other = await startGateway(['--upstream', odd.url]);
    expect((await refusedRealtime(`${other.url}/v1/realtime?model=m`)).body).toContain('upstream_invalid');
    const silent = await startRealtimeProvider(() => undefined);
    const patient = await startGateway(['--upstream', silent.url, '--connect-timeout-ms', '300']);
    const late = await refusedRealtime(`${patient.url}/v1/realtime?model=m`);
    expect(late.status).toBe(504);
    // A client that leaves in the meantime takes its connection with it.
    expect(linesOf(gateway, 'a defect of the gateway')).toEqual([]);
  });

  test('gives up the provider when a client leaves before it is accepted', async () => {
    const gone = Promise.withResolvers<void>();
    const silent = await startRealtimeProvider((_request, socket) => {
      socket.resume();
      socket.on('end', () => gone.resolve());
      socket.on('close', () => gone.resolve());
    });
    const gateway = await startGateway(['--upstream', silent.url]);
    const leaving = refusedRealtime(`${gateway.url}/v1/realtime?model=m`, { handshakeTimeout: 300 });
    await expect(leaving).rejects.toThrow('timed out');
    await gone.promise;
  });

  test('needs a key of the gateway, in either place, and forwards none of them', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url], {
      env: { SPILLWAY_API_KEYS: 'team/web=secret-key' },
    });
    const url = `${gateway.url}/v1/realtime?model=m`;
    const wrong = { headers: { authorization: 'Bearer wrong-key' } };
    const inProtocol = (key: string): { protocols: string[] } => ({
      protocols: ['realtime', `openai-insecure-api-key.${key}`, 'openai-project.p1'],
    });
    for (const options of [{}, wrong, inProtocol('wrong-key'), { ...wrong, ...inProtocol('secret-key') }]) {
      const refusal = await refusedRealtime(url, options);
      expect(refusal.status).toBe(401);
      expect(refusal.body).toContain('invalid_api_key');
    }
    const foreign = { ...inProtocol('secret-key'), origin: 'https://evil.example' };
    expect((await refusedRealtime(url, foreign)).status).toBe(403);
    expect(provider.requests).toEqual([]);
    await openRealtime(url, { headers: { authorization: 'Bearer secret-key' } });
    const browser = await openRealtime(url, inProtocol('secret-key'));
    expect(browser.socket.protocol).toBe('realtime');
    expect(provider.requests).toHaveLength(2);
    expect(JSON.stringify(provider.requests.map(({ rawHeaders }) => rawHeaders))).not.toContain('secret-key');
    expect(provider.requests[1]?.headers['openai-project']).toBe('p1');
    for (const { socket } of [browser]) socket.close();
    await lineWith(gateway, 'realtime session ended', { caller: 'team/web', tenant: 'team' });
    expect(gateway.stderr()).not.toMatch(/secret-key|wrong-key/);
  });

  test('without keys of its own, a client’s key for the provider goes on, out of the subprotocol', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url]);
    await openRealtime(`${gateway.url}/v1/realtime?model=m`, {
      protocols: ['realtime', 'openai-insecure-api-key.sk-own'],
    });
    expect(provider.requests[0]?.headers.authorization).toBe('Bearer sk-own');
    expect(provider.requests[0]?.headers['sec-websocket-protocol']).toBeUndefined();
    const foreign = refusedRealtime(`${gateway.url}/v1/realtime?model=m`, {
      origin: 'https://evil.example',
    });
    expect((await foreign).status).toBe(403);
    expect(gateway.stderr()).not.toContain('sk-own');
  });

  test('a stop lets conversations go on until its deadline, and takes no new ones', async () => {
    const provider = await startRealtimeProvider();
    const gateway = await startGateway(['--upstream', provider.url, '--shutdown-ms', '1500']);
    const url = `${gateway.url}/v1/realtime?model=m`;
    const client = await openRealtime(url);
    const model = watched(await provider.next());
    gateway.process.kill('SIGTERM');
    await eventually(() => linesOf(gateway, 'stopping').length > 0, 'the stop');
    client.socket.send('still here');
    await eventually(() => model.messages.length === 1, 'a message');
    expect(await client.closed).toBe('1013 The gateway stops.');
    expect(await model.closed).toBe('1001');
    expect(await gateway.exited).toBe(0);
    await lineWith(gateway, 'realtime session ended', { reason: 'shutting_down' });
  });

  test('a drained gateway takes no new ones, and those that run go on', async () => {
    const gateway = await startGateway();
    const url = `${gateway.url}/v1/realtime?model=simulated`;
    const client = await openRealtime(url);
    await fetch(`${gateway.adminUrl}/drain`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    const refusal = await refusedRealtime(url);
    expect(refusal.status).toBe(503);
    expect(refusal.headers['retry-after']).toBe('1');
    await eventually(() => client.messages.length > 0, 'the session');
    expect(client.socket.readyState).toBe(client.socket.OPEN);
  });
});

test('the provider is reached over TLS with the authority of its caFile', async () => {
  const { cert, key } = certificates.server;
  const models = await serveSimulatedModels({ tls: { cert, key }, apiKey: 'sk-provider' });
  onTestFinished(() => models.close());
  const base = models.url.replace('wss:', 'https:').replace('/realtime', '');
  const { certFile } = certificates.authority;
  const gateway = await startGateway(['--upstream', `url=${base},apiKeyEnv=KEY,caFile=${certFile}`], {
    env: { KEY: 'sk-provider' },
  });
  const client = await openRealtime(`${gateway.url}/v1/realtime?model=m`);
  await eventually(() => client.messages.length > 0, 'the session');
  const other = await startGateway(['--upstream', `url=${base},apiKeyEnv=KEY`], {
    env: { KEY: 'sk-provider' },
  });
  const refusal = await refusedRealtime(`${other.url}/v1/realtime?model=m`);
  expect(refusal.body).toContain('upstream_untrusted');
});

test('a simulator behind the gateway is a realtime model', async () => {
  const simulator = await startSimulator();
  const gateway = await startGateway(['--upstream', `${simulator.url}/v1`]);
  const client = await openRealtime(`${gateway.url}/v1/realtime?model=simulated`);
  await eventually(() => client.messages.length > 0, 'the session');
});
