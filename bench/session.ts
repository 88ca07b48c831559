import { createFetch } from '../packages/client/src/index.ts';
import { chatBody } from '../packages/gateway/test/support/requests.ts';
import { eventually, type Program, quantile, startGateway, startSimulator, statsOf } from './programs.ts';

const headers = { 'content-type': 'application/json' };
const path = '/v1/chat/completions';

/** What sessions cost, on this machine. */
export async function session(): Promise<void> {
  const simulator = await startSimulator();
  const gateway = await startGateway(simulator.url);
  await abort(gateway, simulator);
  await latency(gateway, simulator);
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

function ms(values: readonly number[], q: number): string {
  return `${quantile(values, q).toFixed(1)} ms`;
}
