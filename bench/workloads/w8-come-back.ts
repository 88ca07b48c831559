import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { openClient, type StreamReader } from '../../packages/client/src/index.ts';
import { replyText } from '../../packages/gateway/src/simulate/tokens.ts';
import { chatBody } from '../../packages/gateway/test/support/requests.ts';
import type { Metric } from '../figures.ts';
import { eventually, quantile, startSimulator, stopAll } from '../programs.ts';
import { spillway } from '../systems.ts';
import type { Bench } from '../workload.ts';

const count = 200;
const tokens = 200;
const cutMs = 500;

const caseName = `${count} readers cut for ${cutMs} ms`;
const all: Metric = { name: 'all live again after', unit: 'ms', digits: 0 };
const p50: Metric = { name: 'p50', unit: 'ms', digits: 0 };
const next: Metric = { name: 'connected to next byte p99', unit: 'ms', digits: 1 };
const repeated: Metric = { name: 'bytes repeated', unit: 'bytes', digits: 0 };
const missing: Metric = { name: 'bytes missing', unit: 'bytes', digits: 0 };

/** Readers that are cut all at once, and come back. Of all systems only Spillway has streams that can be resumed. */
export async function comeBack({ figures, placement, rounds, systems }: Bench): Promise<void> {
  const system = systems.find(({ name }) => name === spillway);
  if (system === undefined) return;
  for (let round = 0; round < Math.ceil(rounds.quick / 2); round += 1) {
    try {
      const simulator = await startSimulator();
      const program = await system.start(simulator.url, { prefix: placement.system });
      await measure(figures, program.url);
    } finally {
      await stopAll();
    }
  }
  figures.note(caseName, spillway, 'nobody else resumes');
}

async function measure(figures: Bench['figures'], url: string): Promise<void> {
  const network = await openNetwork(url);
  const clients = Array.from({ length: count }, () => {
    const times = { connectedMs: 0, nextMs: 0, received: 0 };
    const client = openClient({
      url: network.url,
      onEvent: ({ type }) => {
        if (type === 'connected') times.connectedMs = performance.now();
      },
    });
    const headers = { 'content-type': 'application/json' };
    const body = chatBody(`sim:tps=20,ttft=0,tokens=${tokens}`);
    const reader = client.request('/v1/chat/completions', { body, headers, autoAck: true });
    return { client, times, done: readAll(reader, times) };
  });
  await eventually(() => clients.every(({ times }) => times.received > 5), 'all to stream');
  network.cut();
  await new Promise((resolve) => setTimeout(resolve, cutMs));
  for (const { times } of clients) Object.assign(times, { connectedMs: 0, nextMs: 0 });
  const mendedMs = performance.now();
  network.mend();
  await eventually(() => clients.every(({ times }) => times.nextMs > 0), 'all to be live again');
  const liveMs = clients.map(({ times }) => times.nextMs - mendedMs);
  const nextMs = clients.map(({ times }) => times.nextMs - times.connectedMs);
  const texts = await Promise.all(clients.map(({ done }) => done));
  figures.add(caseName, spillway, all, quantile(liveMs, 1));
  figures.add(caseName, spillway, p50, quantile(liveMs, 0.5));
  figures.add(caseName, spillway, next, quantile(nextMs, 0.99));
  const expected = replyText(tokens, 0);
  const differences = texts.filter((text) => text !== expected).map((text) => Buffer.byteLength(text));
  const excess = differences.map((bytes) => bytes - Buffer.byteLength(expected));
  if (excess.includes(0)) throw new Error('a text came in another order');
  figures.add(
    caseName,
    spillway,
    repeated,
    excess.filter((bytes) => bytes > 0).reduce((sum, bytes) => sum + bytes, 0),
  );
  figures.add(
    caseName,
    spillway,
    missing,
    excess.filter((bytes) => bytes < 0).reduce((sum, bytes) => sum - bytes, 0),
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

function contentOf(events: string): string {
  return [...events.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text).join('');
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
