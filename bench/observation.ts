import { type Client, openClient } from '../packages/client/src/index.ts';
import { place } from './placement.ts';
import { quantile } from './programs.ts';
import { withoutPeers } from './suite.ts';
import {
  clearReplies,
  openPaced,
  type Running,
  sleep,
  startCount,
  steadyModel,
  withSystems,
} from './workload.ts';

const streams = 300;
const tps = 50;
const rounds = 5;
const settleMs = 2000;
const measureMs = 4000;

const ways = ['nobody', 'a console', 'a scrape a second'] as const;

/** What it costs to be looked at: CPU a token, with nobody who does, with a console open, and with a scrape a second. */
export async function observation(): Promise<void> {
  const placement = place();
  const figuresUs = new Map<string, number[]>(ways.map((way) => [way, []]));
  const systems = withoutPeers.filter(({ name }) => name === 'Spillway');
  await withSystems({ placement, systems }, async ([gateway]) => {
    if (gateway === undefined) return;
    let tokens = 0;
    const model = steadyModel(tps);
    const readers = await openPaced(gateway, streams, 500, { model, onToken: () => (tokens += 1) });
    await sleep(settleMs);
    for (let round = 0; round < rounds; round += 1) {
      for (const way of ways) {
        const stop = look(gateway, way);
        await sleep(500);
        tokens = 0;
        const spent = startCount(gateway);
        await sleep(measureMs);
        const { systemUs } = spent();
        figuresUs.get(way)?.push(systemUs / tokens);
        await stop();
      }
    }
    for (const reader of readers) reader.leave();
    await clearReplies(gateway);
  });
  const nobody = figuresUs.get('nobody') ?? [];
  for (const [way, valuesUs] of figuresUs) {
    const ratios = valuesUs.map((value, round) => value / (nobody[round] ?? Number.NaN));
    console.log(
      `${streams} streams of ${tps} tokens/s, looked at by ${way}: ${quantile(valuesUs, 0.5).toFixed(1)} µs a token, ` +
        `ratio ${quantile(ratios, 0.5).toFixed(3)} (${rounds} rounds)`,
    );
  }
}

/** Returns the function that ends it. */
function look({ program }: Running, way: (typeof ways)[number]): () => Promise<void> {
  const url = program.adminUrl ?? '';
  if (way === 'nobody') return () => Promise.resolve();
  if (way === 'a console') {
    const client = openClient({ url });
    void watch(client).catch(() => undefined);
    return () => client.close();
  }
  const timer = setInterval(() => void fetch(`${url}/metrics`).then((response) => response.text()), 1000);
  return () => Promise.resolve(clearInterval(timer));
}

async function watch(client: Client): Promise<void> {
  const overview = client.read('/streams/overview', { from: 'now', overflow: 'latest' });
  for await (const item of overview) overview.ack(item.to);
}
