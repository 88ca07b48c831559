import { openRealtime, startRealtimeProvider } from './support/realtime-peers.ts';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { placeCall } from '@spillway/voice/simulate/carrier';
import { speech } from '@spillway/voice/simulate/speech';
import { eventually, startGateway, startSimulator } from './support/processes.ts';
import { Message } from './support/protobuf.ts';
import { postChat } from './support/requests.ts';

/** Takes what is pushed, as a collector does, and keeps it. Also a provider, to see what it is sent. */
async function startCollector(): Promise<{
  readonly url: string;
  readonly bodies: (path: string) => Buffer[];
  readonly headers: Map<string, NodeJS.Dict<string | string[]>>;
}> {
  const taken = new Map<string, Buffer[]>();
  const headers = new Map<string, NodeJS.Dict<string | string[]>>();
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const path = request.url ?? '';
      headers.set(path, request.headers);
      taken.set(path, [...(taken.get(path) ?? []), Buffer.concat(parts)]);
      response.setHeader(
        'content-type',
        path === '/v1/files' ? 'application/json' : 'application/x-protobuf',
      );
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  onTestFinished(() => server.closeAllConnections());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, bodies: (path) => taken.get(path) ?? [], headers };
}

/** All spans that a collector has got. The numbers are those of OpenTelemetry's `trace.proto`. */
function spansOf(bodies: readonly Buffer[]): Message[] {
  return bodies.flatMap((body) =>
    new Message(body)
      .messages(1)
      .flatMap((resource) => resource.messages(2).flatMap((scope) => scope.messages(2))),
  );
}

const traceId = '0af7651916cd43dd8448eb211c80319c';
const parentId = 'b7ad6b7169203331';
const traceparent = `00-${traceId}-${parentId}-01`;

test('metrics and spans are pushed to whom OpenTelemetry’s variables name, and say no word of a prompt', async () => {
  const collector = await startCollector();
  const simulator = await startSimulator();
  const gateway = await startGateway(['--upstream', `${simulator.url}/v1`], {
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20collector',
      OTEL_METRIC_EXPORT_INTERVAL: '200',
      OTEL_SERVICE_NAME: 'answers',
      SPILLWAY_API_KEYS: 'clinic/web=client-key',
    },
  });
  const key = { authorization: 'Bearer client-key' };
  const headers = { traceparent, ...key };
  expect(await (await postChat(gateway.url, 'sim:tokens=5,ttft=0', { headers })).text()).toContain('[DONE]');
  await (await postChat(gateway.url, 'sim:tokens=5,ttft=0,unfinished', { headers: key })).text();

  const spans = await eventually(() => {
    const all = spansOf(collector.bodies('/v1/traces'));
    return all.length === 2 ? all : undefined;
  }, 'two spans');
  const [whole, cut] = spans as [Message, Message];
  expect(whole.text(5)).toBe('chat sim:tokens=5,ttft=0');
  expect(whole.hex(1)).toBe(traceId);
  expect(whole.hex(4)).toBe(parentId);
  const events = (span: Message): string[] => span.messages(11).map((event) => event.text(2));
  expect(events(whole)).toEqual(
    expect.arrayContaining(['spillway.opened', 'spillway.first_token', 'spillway.ended']) as string[],
  );
  const attributes = (span: Message): Map<string, Message | undefined> =>
    new Map(span.messages(9).map((pair) => [pair.text(1), pair.messages(2)[0]]));
  expect(attributes(whole).get('gen_ai.provider.name')?.text(1)).toBe('upstream');
  expect(attributes(whole).get('spillway.caller')?.text(1)).toBe('clinic/web');
  expect(attributes(whole).get('spillway.tenant')?.text(1)).toBe('clinic');
  expect(attributes(whole).get('spillway.state')?.text(1)).toBe('completed');
  expect(attributes(cut).get('error.type')?.text(1)).toBe('upstream_cut');
  // An error, by its status.
  expect(cut.messages(15)[0]?.number(3)).toBe(2);
  expect(whole.messages(15)[0]?.number(3)).toBe(0);

  await eventually(
    () => collector.bodies('/v1/metrics').some((body) => body.includes('spillway.tokens')),
    'metrics',
  );
  expect(collector.headers.get('/v1/metrics')?.['authorization']).toBe('Bearer collector');
  const bodies = [...collector.bodies('/v1/traces'), ...collector.bodies('/v1/metrics')];
  const pushed = Buffer.concat(bodies).toString('latin1');
  expect(pushed).toContain('answers');
  // The prompt, what the model says, and keys.
  for (const secret of ['Hello', 'lorem', 'client-key', 'content'])
    expect(pushed.includes(secret)).toBe(false);
});

test('a call is a span, with what happened in it and no word of it', async () => {
  const collector = await startCollector();
  const gateway = await startGateway(['--voice', 'simulated'], {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url },
  });
  const call = await placeCall(`${gateway.url.replace('http', 'ws')}/voice/twilio`);
  expect(await call.whenHeard(1500, 20_000)).toBe(true);
  call.say(speech('caller-interruption').audio);
  await call.whenSaid();
  call.hangUp();
  const { callId } = await call.ended;
  const [span] = await eventually(() => {
    const all = spansOf(collector.bodies('/v1/traces'));
    return all.length > 0 ? all : undefined;
  }, 'a span');
  expect(span?.text(5)).toBe('call twilio');
  expect(span?.messages(11).map((event) => event.text(2))).toEqual(
    expect.arrayContaining(['spillway.ready', 'spillway.answered', 'spillway.interrupted']) as string[],
  );
  const pushed = Buffer.concat(collector.bodies('/v1/traces')).toString('latin1');
  expect(pushed).toContain(callId);
  expect(pushed).toContain('hangup');
  for (const word of speech('model-greeting')
    .text.split(/\W+/u)
    .filter(({ length }) => length > 4))
    expect(pushed.includes(word)).toBe(false);
});

test('the provider gets the context of the span, or without spans that of the client', async () => {
  const provider = await startCollector();
  const post = async (url: string): Promise<unknown> => {
    await (await fetch(`${url}/v1/files`, { method: 'POST', body: 'x', headers: { traceparent } })).text();
    return provider.headers.get('/v1/files')?.['traceparent'];
  };
  const plain = await startGateway(['--upstream', `${provider.url}/v1`]);
  expect(await post(plain.url)).toBe(traceparent);

  const traced = await startGateway(['--upstream', `${provider.url}/v1`], {
    env: { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${provider.url}/v1/traces` },
  });
  const passedOn = await post(traced.url);
  const [span] = await eventually(() => {
    const all = spansOf(provider.bodies('/v1/traces'));
    return all.length > 0 ? all : undefined;
  }, 'a span');
  expect(passedOn).toBe(`00-${traceId}-${span?.hex(2)}-01`);
});

test('a realtime conversation is a span of the client’s trace, and the provider gets its context', async () => {
  const provider = await startRealtimeProvider();
  const collector = await startCollector();
  const gateway = await startGateway(['--upstream', provider.url], {
    env: { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/v1/traces` },
  });
  const client = await openRealtime(`${gateway.url}/v1/realtime?model=m`, { headers: { traceparent } });
  const model = await provider.next();
  model.send('{"type":"response.output_text.done","text":"secret words"}');
  await eventually(() => client.messages.length === 1, 'a message');
  client.socket.close(1000);
  const [span] = await eventually(() => {
    const all = spansOf(collector.bodies('/v1/traces'));
    return all.length > 0 ? all : undefined;
  }, 'a span');
  expect(span?.text(5)).toBe('realtime m');
  expect(span?.hex(1)).toBe(traceId);
  expect(span?.hex(4)).toBe(parentId);
  expect(provider.requests[0]?.headers['traceparent']).toBe(`00-${traceId}-${span?.hex(2)}-01`);
  const attributes = new Map(span?.messages(9).map((pair) => [pair.text(1), pair.messages(2)[0]]));
  expect(attributes.get('spillway.ended')?.text(1)).toBe('client_closed');
  expect(Buffer.concat(collector.bodies('/v1/traces')).includes('secret words')).toBe(false);
});

test('a collector that is not there costs no stream, and no stop', async () => {
  const simulator = await startSimulator();
  const gateway = await startGateway(['--upstream', `${simulator.url}/v1`], {
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
      OTEL_METRIC_EXPORT_INTERVAL: '100',
    },
  });
  expect(await (await postChat(gateway.url, 'sim:tokens=5,ttft=0')).text()).toContain('[DONE]');
  await eventually(() => gateway.stderr().includes('ECONNREFUSED'), 'a word about it in the log');
  gateway.process.kill('SIGTERM');
  expect(await gateway.exited).toBe(0);
});

test('a collector that does not answer keeps no process from its end', async () => {
  const silent = createTcpServer((socket) => void socket.on('error', () => undefined).resume());
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void silent.close());
  const simulator = await startSimulator();
  const gateway = await startGateway(['--upstream', `${simulator.url}/v1`], {
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(silent.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_TIMEOUT: '600000',
      OTEL_BSP_EXPORT_TIMEOUT: '600000',
    },
  });
  await (await postChat(gateway.url, 'sim:tokens=5,ttft=0')).text();
  gateway.process.kill('SIGTERM');
  expect(await gateway.exited).toBe(0);
  expect(gateway.stdout() + gateway.stderr()).toContain('It was not taken within');
});

test('a client that is not sampled has no span, and its provider is told so; a broken context begins a trace of its own', async () => {
  const provider = await startCollector();
  const gateway = await startGateway(['--upstream', `${provider.url}/v1`], {
    env: { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${provider.url}/v1/traces` },
  });
  const ask = async (headers: Record<string, string>): Promise<NodeJS.Dict<string | string[]>> => {
    await (await fetch(`${gateway.url}/v1/files`, { method: 'POST', body: 'x', headers })).text();
    return provider.headers.get('/v1/files') ?? {};
  };
  const unsampled = await ask({ traceparent: `00-${traceId}-${parentId}-00`, tracestate: 'vendor=1' });
  expect(unsampled['traceparent']).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
  expect(unsampled['tracestate']).toBe('vendor=1');
  const broken = await ask({ traceparent: '00-broken', tracestate: 'vendor=1' });
  expect(broken['traceparent']).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  expect(String(broken['traceparent'])).not.toContain(traceId);
  // A state without its parent would be another trace's.
  expect(broken['tracestate']).toBe(undefined);
  const [span] = await eventually(() => {
    const all = spansOf(provider.bodies('/v1/traces'));
    return all.length > 0 ? all : undefined;
  }, 'a span');
  expect(broken['traceparent']).toBe(`00-${span?.hex(1)}-${span?.hex(2)}-01`);
  const line = await eventually(
    () =>
      gateway
        .stderr()
        .split('\n')
        .find((text) => text.includes(`"trace":"${span?.hex(1)}"`)),
    'the trace in the log',
  );
  expect(line).toContain('stream ended');
});
