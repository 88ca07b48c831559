import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { createFetch, openClient, type StreamReader } from '../packages/client/src/index.ts';
import { chatBody } from '../packages/gateway/test/support/requests.ts';
import { eventually, type Program, quantile, startGateway, startSimulator, statsOf } from './programs.ts';

const headers = { 'content-type': 'application/json' };
const path = '/v1/chat/completions';

/** What sessions cost, and how fast they come back, all on this machine. */
export async function session(): Promise<void> {
  const simulator = await startSimulator();
  const gateway = await startGateway(simulator.url);
  await comeBack(gateway);
  await abort(gateway, simulator);
  await latency(gateway, simulator);
}

/** 200 clients are cut at once, for half a second, and come back. */
async function comeBack(gateway: Program): Promise<void> {
  const network = await openNetwork(gateway.url);
  const clients = Array.from({ length: 200 }, () => {
    const times = { connectedMs: 0, nextMs: 0, received: 0 };
    const client = openClient({
      url: network.url,
      onEvent: ({ type }) => {
        if (type === 'connected') times.connectedMs = performance.now();
      },
    });
    const body = chatBody('sim:tps=20,ttft=0,tokens=400');
    const reader = client.request(path, { body, headers, autoAck: true });
    return { client, times, done: readAll(reader, times) };
  });
  await eventually(() => clients.every(({ times }) => times.received > 5), 'all to stream');
  network.cut();
  await new Promise((resolve) => setTimeout(resolve, 500));
  for (const { times } of clients) Object.assign(times, { connectedMs: 0, nextMs: 0 });
  const mendedMs = performance.now();
  network.mend();
  await eventually(() => clients.every(({ times }) => times.nextMs > 0), 'all to be live again');
  const next = clients.map(({ times }) => times.nextMs - times.connectedMs);
  const live = clients.map(({ times }) => times.nextMs - mendedMs);
  const texts = await Promise.all(clients.map(({ done }) => done));
  const wrong = texts.filter((text) => text !== texts[0]).length;
  console.log(
    `200 readers cut for 500 ms: from the new connection to the next byte p50 ${ms(next, 0.5)}, p99 ${ms(next, 0.99)}; ` +
      `all live again ${ms(live, 1)} after the network (p50 ${ms(live, 0.5)}); ` +
      `texts with a byte missing or repeated: ${wrong}`,
  );
  await Promise.all(clients.map(({ client }) => client.close()));
  network.close();
}

async function readAll(reader: StreamReader, times: { nextMs: number; received: number }): Promise<string> {
  let text = '';
  for await (const item of reader) {
    if (item.type !== 'chunk') continue;
    text += contentOf(Buffer.from(item.bytes).toString());
    times.received += 1;
    if (times.nextMs === 0) times.nextMs = performance.now();
  }
  return text;
}

/** From an abort to the close of the request to the provider. */
async function abort(gateway: Program, simulator: Program): Promise<void> {
  const before = (await statsOf(simulator)).length;
  const fetch = createFetch({ url: gateway.url });
  const abortedMs: number[] = [];
  for (let count = 0; count < 100; count += 1) {
    const leaving = new AbortController();
    const body = chatBody('sim:tps=50,ttft=0,tokens=100000');
    const response = await fetch(path, { method: 'POST', headers, body, signal: leaving.signal });
    await response.body?.getReader().read();
    abortedMs.push(performance.timeOrigin + performance.now());
    leaving.abort();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const ended = await eventually(async () => {
    const stats = (await statsOf(simulator)).slice(before);
    return stats.every(({ endedMs }) => endedMs !== undefined) && stats;
  }, 'all to be closed');
  const delays = ended.map(({ endedMs = Number.NaN }, index) => endedMs - (abortedMs[index] ?? Number.NaN));
  console.log(`from an abort to the close of the upstream: p50 ${ms(delays, 0.5)}, p99 ${ms(delays, 0.99)}`);
  await fetch.close();
}

/** How late tokens are, over a session and by plain HTTP, 20 streams of each at the same time. */
async function latency(gateway: Program, simulator: Program): Promise<void> {
  const fetch = createFetch({ url: gateway.url });
  const lateness = { session: [] as number[], http: [] as number[] };
  const run = async (kind: 'http' | 'session', index: number): Promise<void> => {
    const model = `sim-${kind}-${index}`;
    const arrivals: number[] = [];
    const send = kind === 'session' ? fetch : globalThis.fetch;
    const response = await send(gateway.url + path, {
      method: 'POST',
      headers: { ...headers, 'x-simulate': 'tps=50,ttft=0,tokens=500' },
      body: chatBody(model),
    });
    for await (const bytes of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      const events = Buffer.from(bytes).toString().split('"content":"').length - 1;
      const now = performance.timeOrigin + performance.now();
      for (let event = 0; event < events; event += 1) arrivals.push(now);
    }
    const stats = (await statsOf(simulator)).find(({ model: name }) => name === model);
    if (stats === undefined) throw new Error(`the simulator does not remember ${model}`);
    // Against the fastest of its own tokens: what is left is what varies on the way.
    const delays = arrivals.map((atMs, token) => atMs - (stats.startedMs + token * 20));
    const least = Math.min(...delays);
    lateness[kind].push(...delays.map((delay) => delay - least));
  };
  const indices = Array.from({ length: 20 }, (_, index) => index);
  await Promise.all(indices.flatMap((index) => [run('session', index), run('http', index)]));
  const line = (values: readonly number[]): string => `p50 ${ms(values, 0.5)}, p99 ${ms(values, 0.99)}`;
  console.log(`how late a token is: session ${line(lateness.session)}; plain SSE ${line(lateness.http)}`);
  await fetch.close();
}

function contentOf(events: string): string {
  return [...events.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text).join('');
}

function ms(values: readonly number[], q: number): string {
  return `${quantile(values, q).toFixed(1)} ms`;
}

/** A network that can go away and come back. */
async function openNetwork(
  targetUrl: string,
): Promise<{ url: string; cut: () => void; mend: () => void; close: () => void }> {
  const { hostname, port } = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const upstream = connect({ host: hostname, port: Number(port), noDelay: true });
    client.setNoDelay();
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut() {
      isCut = true;
      for (const socket of sockets) socket.destroy();
    },
    mend: () => (isCut = false),
    close: () => server.close(),
  };
}
