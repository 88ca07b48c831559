import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright';
import { rolldown } from 'rolldown';
import { chatBody } from '../packages/gateway/test/support/requests.ts';
import { memoryOf, metricOf, startGateway, startSimulator, statsOf } from './programs.ts';

const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';
const MiB = 1024 * 1024;
/** 500 MB of short tokens: a model that never ends, as far as a page is concerned. */
const model = 'sim:tps=0,ttft=0,tokens=2000000,batch=32';

/** What a page that does not read costs the page and the gateway, with Spillway's `fetch` and without. Linux, Chromium. */
export async function stalledPage(): Promise<void> {
  const bundle = await rolldown({
    input: fileURLToPath(new URL('../packages/client/src/index.ts', import.meta.url)),
    resolve: { conditionNames: ['spillway-source'] },
  });
  const { output } = await bundle.generate({ format: 'iife', name: 'spillway' });
  const script = output[0].code;
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end(`<!doctype html><script>${script}</script>`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const kind of ['plain fetch', 'spillway']) {
    const simulator = await startSimulator();
    const gateway = await startGateway(simulator.url);
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
    const page = await browser.newPage();
    await page.goto(url);
    const before = { page: memoryOfChromium(), gateway: memoryOf(gateway) };
    await page.evaluate(
      async ([gatewayUrl, body, isPlain]) => {
        const own = globalThis as unknown as {
          spillway: { createFetch(options: object): typeof fetch };
          kept: Response;
        };
        const send =
          isPlain === true ? fetch.bind(globalThis) : own.spillway.createFetch({ url: gatewayUrl });
        const headers = { 'content-type': 'application/json' };
        own.kept = await send(`${String(gatewayUrl)}/v1/chat/completions`, {
          method: 'POST',
          headers,
          body: String(body),
        });
      },
      [gateway.url, chatBody(model), kind === 'plain fetch'],
    );
    // Nobody reads the response. What is taken of it is taken within seconds.
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    const taken = await metricOf(gateway, 'spillway_bytes_out_total');
    const upstream = (await statsOf(simulator)).at(-1)?.bytes ?? Number.NaN;
    console.log(
      `${kind.padEnd(12)} to the page ${megabytes(taken)}, from the provider ${megabytes(upstream)}; ` +
        `Chromium grew by ${megabytes(memoryOfChromium() - before.page)}, the gateway by ` +
        megabytes(memoryOf(gateway) - before.gateway),
    );
    await browser.close();
  }
  server.close();
}

/** Of all its processes, what is shared divided among them. */
function memoryOfChromium(): number {
  const pids = execFileSync('pgrep', ['-f', '--', '--no-sandbox'], { encoding: 'utf8' }).trim().split('\n');
  let kilobytes = 0;
  for (const pid of pids) {
    try {
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      kilobytes += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
    } catch {
      // It is gone.
    }
  }
  return kilobytes * 1024;
}

function megabytes(bytes: number): string {
  return `${(bytes / MiB).toFixed(2)} MiB`;
}
