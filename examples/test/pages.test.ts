import { createReadStream, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { eventually, startBoth } from '../../packages/gateway/test/support/processes.ts';
import { metric, postChat, simulatorStats } from '../../packages/gateway/test/support/requests.ts';

const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';
const contentTypes = new Map([
  ['.html', 'text/html'],
  ['.js', 'text/javascript'],
  ['.css', 'text/css'],
]);

let browser: Browser;
let server: Server;
let pagesUrl: string;
const folder = mkdtempSync(join(tmpdir(), 'spillway-pages-'));

// The vitest configuration says so when there is no Chromium.
describe.skipIf(!existsSync(executablePath))('pages in a real Chromium', () => {
  beforeAll(async () => {
    const root = join(import.meta.dirname, '../pages');
    await build({
      root,
      configFile: join(root, 'vite.config.ts'),
      logLevel: 'warn',
      build: { outDir: folder },
    });
    server = createServer((request, response) => {
      const path = (request.url ?? '').split('?')[0] ?? '';
      response.setHeader('content-type', contentTypes.get(extname(path)) ?? 'text/plain');
      createReadStream(join(folder, path))
        .on('error', () => response.writeHead(404).end())
        .pipe(response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    pagesUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    // Chromium's sandbox does not start as root, and the only code in it is this repository's.
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
  });
  afterAll(async () => {
    await browser.close();
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(['fetch', 'react', 'reader'])('%s.html shows what the model says', async (name) => {
    const { gateway } = await startBoth();
    const page = await openPage(name, gateway.url, 'sim:tokens=300,tps=300,ttft=0');
    await start(page);
    await shows(page, '#status', 'done');
    expect(await textOf(page)).toBe(await expectedText(gateway.url, 300));
  });

  test('a second tab reads the same stream with a plain EventSource', async () => {
    const { gateway } = await startBoth();
    const first = await openPage('reader', gateway.url, 'sim:tokens=200,tps=60,ttft=0');
    await start(first);
    await first.waitForFunction(() => location.search.includes('stream='));
    const stream = new URL(first.url()).searchParams.get('stream') ?? '';
    const second = await openPage('event-source', gateway.url, '', `&stream=${encodeURIComponent(stream)}`);
    await start(second);
    await Promise.all([shows(first, '#status', 'done'), shows(second, '#status', 'done')]);
    expect(await textOf(second)).toBe(await expectedText(gateway.url, 200));
    expect(await textOf(first)).toBe(await textOf(second));
  });

  test('a stop in the page stops the model', async () => {
    const { gateway, simulator } = await startBoth();
    const page = await openPage('react', gateway.url, 'sim:tokens=100000,tps=50,ttft=0');
    await start(page);
    await shows(page, '#status', 'streaming');
    await page.getByRole('button', { name: 'Stop' }).click();
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="cancelled"}')).toBe(1);
  });

  test('promise 4: a network that goes away and comes back is no more than a pause', async () => {
    const { gateway } = await startBoth();
    const network = await startNetwork(gateway.url);
    const page = await openPage('fetch', network.url, 'sim:tokens=300,tps=60,ttft=0');
    await start(page);
    for (let cut = 0; cut < 3; cut += 1) {
      const before = (await textOf(page)).length;
      await eventually(async () => (await textOf(page)).length > before + 50, 'more text');
      network.cut();
      await page.context().setOffline(true);
      await shows(page, '#status', 'disconnected');
      network.mend();
      await page.context().setOffline(false);
      await shows(page, '#status', 'connected');
    }
    await shows(page, '#status', 'done');
    expect(await textOf(page)).toBe(await expectedText(gateway.url, 300));
  });

  test('a page behind 50 kbit/s gets all of the text, merged', async () => {
    const { gateway } = await startBoth();
    const page = await openPage('fetch', gateway.url, 'sim:tokens=300,tps=100,ttft=0');
    const session = await page.context().newCDPSession(page);
    await session.send('Network.enable');
    await session.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 50,
      downloadThroughput: 50_000 / 8,
      uploadThroughput: 50_000 / 8,
    });
    await start(page);
    await shows(page, '#status', 'done');
    expect(await textOf(page)).toBe(await expectedText(gateway.url, 300));
  });

  test('a consumer that does not read costs its window, and not what a browser takes by itself', async () => {
    const { gateway, simulator } = await startBoth();
    const model = 'sim:tokens=200000,tps=0,ttft=0,size=100';
    const page = await openPage('fetch', gateway.url, model);
    // Whoever holds the stream does not read on.
    await page.evaluate(() => {
      Object.defineProperty(HTMLElement.prototype, 'textContent', {
        set: () => {
          for (const end = performance.now() + 500; performance.now() < end;);
        },
      });
    });
    await start(page);
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams{state="paused"}')) === 1,
      'the model to wait',
    );
    expect(await metric(gateway.adminUrl, 'spillway_bytes_out_total')).toBeLessThan(200_000);
    expect((await simulatorStats(simulator.url))[0]?.state).toBe('running');
    await page.close();
  });
});

async function openPage(name: string, gatewayUrl: string, model: string, more = ''): Promise<Page> {
  const context: BrowserContext = await browser.newContext();
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const query = `gateway=${encodeURIComponent(gatewayUrl)}&model=${encodeURIComponent(model)}${more}`;
  await page.goto(`${pagesUrl}/${name}.html?${query}`);
  return page;
}

async function start(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Start' }).click();
}

/** Waits until an element shows a text. */
async function shows(page: Page, selector: string, text: string): Promise<void> {
  await page.locator(selector).filter({ hasText: text }).waitFor({ timeout: 30_000 });
}

async function textOf(page: Page): Promise<string> {
  return (await page.locator('#text').innerText()).trimEnd();
}

/** What the simulator says in so many tokens, as a page shows it. */
async function expectedText(url: string, tokens: number): Promise<string> {
  const response = await postChat(url, `sim:tokens=${tokens},tps=0,ttft=0`, { stream: false });
  const { choices } = (await response.json()) as {
    choices: readonly { readonly message: { readonly content: string } }[];
  };
  return (choices[0]?.message.content ?? '').trimEnd();
}

/** A network between a page and a gateway, which can go away. */
async function startNetwork(targetUrl: string): Promise<{ url: string; cut: () => void; mend: () => void }> {
  const { hostname, port } = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let isCut = false;
  const network = createTcpServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const upstream = connect({ host: hostname, port: Number(port) });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => other.destroy());
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => network.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  onTestFinished(() => {
    cut();
    network.close();
  });
  return {
    url: `http://127.0.0.1:${(network.address() as AddressInfo).port}`,
    cut,
    mend: () => (isCut = false),
  };
}
