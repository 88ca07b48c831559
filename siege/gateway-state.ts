import { readdirSync } from 'node:fs';
import { get } from 'node:http';
import { memoryOf } from '../bench/programs.ts';
import type { SmallGateway } from './small-gateway.ts';

/** What a gateway holds at a moment without load. */
export interface GatewayState {
  readonly descriptors: number;
  /** After a collection of garbage. */
  readonly heapBytes: number;
  /** Physical memory, after a collection of garbage. */
  readonly rssBytes: number;
  /** Timers, sockets and requests that Node knows of. */
  readonly resources: number;
  /** Every gauge of `/metrics` that is Spillway's own, by its series. */
  readonly gauges: Readonly<Record<string, number>>;
}

const deadlineMs = 5000;

/** Whether a series counts connections: one may be the watcher's own, and is there at one look and gone at the next. */
export function isOfConnections(series: string): boolean {
  return series.startsWith('spillway_connections');
}

/** How many file descriptors a process has. Linux. */
export function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/**
 * Reads it, over connections that are closed afterwards.
 *
 * @throws if the gateway does not answer within 5 s.
 */
export async function readState({ gateway, pid }: SmallGateway): Promise<GatewayState> {
  const descriptors = descriptorsOf(pid);
  const gauges = gaugesIn(await textOf(`${gateway.adminUrl}/metrics`));
  const { heapBytes, resources } = await inspect(gateway.command.stderr());
  return { descriptors, heapBytes, rssBytes: memoryOf(gateway), resources, gauges };
}

/** The gauges of what is held, which have to come back to what they were: all but bounds and the configuration's. */
export function gaugesIn(metrics: string): Record<string, number> {
  const names = new Set([...metrics.matchAll(/^# TYPE (spillway_\w+) gauge$/gm)].map(([, name]) => name));
  const gauges: Record<string, number> = {};
  for (const line of metrics.split('\n')) {
    const [, series = '', name = '', value] = /^((\w+)(?:\{.*\})?) (\S+)/.exec(line) ?? [];
    if (names.has(name) && !/_limit_|_config_/.test(name)) gauges[series] = Number(value);
  }
  return gauges;
}

/** The answer to a `GET` over a connection of its own. */
function textOf(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, signal: AbortSignal.timeout(deadlineMs) }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.once('end', () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`${url}: expected status 200, got ${response.statusCode}`));
      });
      response.once('error', reject);
    });
    request.once('error', reject);
  });
}

/** Has the process collect its garbage, and asks what is left. */
async function inspect(stderr: string): Promise<{ heapBytes: number; resources: number }> {
  // The gateway begins itself again when it starts: the last one is its own.
  const url = [...stderr.matchAll(/Debugger listening on (ws:\S+)/g)].at(-1)?.[1];
  if (url === undefined) throw new Error('the gateway did not say where its inspector is');
  const socket = new WebSocket(url);
  const answered = Promise.withResolvers<string>();
  const timer = setTimeout(() => answered.reject(new Error('its inspector does not answer')), deadlineMs);
  socket.addEventListener('error', () => answered.reject(new Error('its inspector cannot be reached')));
  socket.addEventListener('open', () => {
    const expression =
      'JSON.stringify({ heapBytes: process.memoryUsage().heapUsed, resources: process.getActiveResourcesInfo().length })';
    socket.send(JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' }));
    socket.send(JSON.stringify({ id: 2, method: 'Runtime.evaluate', params: { expression } }));
  });
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(String(data)) as { id: number; result: { result?: { value: string } } };
    if (message.id === 2) answered.resolve(message.result.result?.value ?? '');
  });
  try {
    return JSON.parse(await answered.promise) as { heapBytes: number; resources: number };
  } finally {
    clearTimeout(timer);
    socket.close();
  }
}
