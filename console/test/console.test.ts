import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { AxeResults } from 'axe-core';
import { type Browser, type BrowserContextOptions, chromium, type Page, type Request } from 'playwright';
import type { EndedPage } from '../../packages/server/src/console/snapshot.ts';
import { fliteMissing, pocketsphinxMissing } from '@spillway/voice';
import { placeCall } from '@spillway/voice/simulate/carrier';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startGateway, startSimulator } from '../../packages/gateway/test/support/processes.ts';
import { holdLog } from '../../packages/gateway/test/support/held-log.ts';
import { temporaryFolder } from '../../packages/gateway/test/support/prometheus.ts';
import { postChat, rawChat } from '../../packages/gateway/test/support/requests.ts';
import {
  type Command,
  eventually,
  printed,
  spawnSpillway,
} from '../../packages/gateway/test/support/spawn.ts';

const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';
const repository = join(import.meta.dirname, '../..');
const built = join(repository, 'packages/gateway/dist/page/index.html');
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let browser: Browser;
let gateway: Command;
let url: string;
let adminUrl: string;

// The vitest configuration says so when there is no Chromium.
describe.skipIf(!existsSync(executablePath))('the console in a real Chromium', () => {
  beforeAll(async () => {
    // `npm install` has built it; whoever has changed it since has not.
    if (isStale())
      execFileSync(process.execPath, [join(repository, 'console/build.ts')], { stdio: 'inherit' });
    gateway = spawnSpillway(['serve', '--port', '0', '--admin-port', '0']);
    url = await printed(gateway, /Spillway on (\S+)/);
    adminUrl = await printed(gateway, /Console (\S+)\//);
    // Chromium's sandbox does not start as root, and the only code in it is this repository's.
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
  });
  afterAll(async () => {
    await browser.close();
    gateway.process.kill('SIGKILL');
    await gateway.exited;
  });

  test('costs nothing that a page of another origin shows, loads or sends', async () => {
    const asked = new Set<string>();
    const targets = ['/playground/pipe?model=sim:tokens=1', '/metrics', '/history'].map(
      (path) => adminUrl + path,
    );
    targets.push(`${url}/v1/models`);
    const evil = createServer((_request, response) => {
      const items = targets.map(
        (target) =>
          `<img src="${target}"><script src="${target}"></script><iframe src="${target}"></iframe>` +
          `<form method="post" action="${target}" target="f"></form><iframe name="f"></iframe>`,
      );
      const script =
        `for (const target of ${JSON.stringify(targets)}) for (const method of ['GET', 'POST']) ` +
        `fetch(target, { method, mode: 'no-cors' }).catch(() => {}); for (const form of document.forms) form.submit();`;
      response
        .setHeader('content-type', 'text/html')
        .end(`${items.join('')}<script>${script}</script><a href="${adminUrl}/">x</a>`);
    });
    evil.listen(0, '127.0.0.1');
    await once(evil, 'listening');
    onTestFinished(() => void evil.close());
    onTestFinished(() => evil.closeAllConnections());
    const page = await browser.newPage();
    onTestFinished(() => page.close());
    const statuses: number[] = [];
    const asking = (sent: Request): void => {
      if (targets.includes(sent.url())) asked.add(`${sent.resourceType()} ${sent.url()}`);
    };
    // Of an image or a script that is none, the browser tells no status.
    page.on('requestfinished', asking);
    page.on('requestfailed', asking);
    page.on('response', (response) => {
      if (targets.includes(response.url())) statuses.push(response.status());
    });
    await page.goto(`http://evil.localhost:${(evil.address() as AddressInfo).port}/`);
    const kinds = ['document', 'fetch', 'image', 'script'];
    await eventually(() => asked.size === kinds.length * targets.length, 'all to be asked in every way');
    // Refused, or no such method; nothing was done for it.
    expect(statuses.filter((status) => status < 400)).toEqual([]);
    // A link to the console still shows it.
    await page.getByRole('link').click();
    await shows(page, '.verdict', 'Nothing is wrong: no stream is open.');
  });

  test('names what it loads after its content, and may be behind any path', async () => {
    const html = await (await fetch(adminUrl)).text();
    const names = [...html.matchAll(/(?:src|href)="(.+?)"/g)].map(([, name]) => name ?? '');
    const hashed = expect.stringMatching(/^\.\/assets\/\w+-[A-Z0-9]{8}\.(?:css|js|svg)$/);
    expect(names).toEqual([hashed, hashed, hashed, 'metrics']);
    for (const name of names.slice(0, 3)) {
      const asset = await fetch(new URL(name, `${adminUrl}/`));
      expect(asset.status).toBe(200);
      expect(asset.headers.get('cache-control')).toContain('immutable');
    }
  });

  test('says plainly that nothing is wrong, and then who lags and why', async () => {
    const page = await openConsole();
    await shows(page, '.verdict', 'Nothing is wrong: no stream is open.');
    await openChat('sim:tps=20,tokens=100000,ttft=0', 'quick/1.0');
    await shows(page, '.verdict', 'Nothing is wrong: 1 stream, 1 reader, and nobody lags.');

    await rawChat(url, 'sim:tps=0,tokens=100000,ttft=0,size=400', { reads: false });
    await shows(page, '.verdict', /^\W*1 reader lags: slow link/);
    await shows(page, '.verdict', '1 model is made to wait');
    const rows = page.locator('.streams tbody tr:not(.spacer)');
    await shows(page, '.count', '2 open');
    // The greatest lag is first.
    await shows(page, '.streams tbody tr:not(.spacer) >> nth=0', 'stalled');
    const meter = rows.first().getByRole('meter');
    expect(Number(await meter.getAttribute('aria-valuenow'))).toBeGreaterThan(
      Number(await meter.getAttribute('aria-valuemax')) / 2,
    );
    await page.getByRole('searchbox').fill('quick');
    await shows(page, '.count', '1 of 2 open');
    expect(await rows.count()).toBe(1);
    await shows(page, '.streams tbody tr:not(.spacer) >> nth=0', 'quick/1.0');
    await isAccessible(page);
  });

  test('leads by the keyboard alone to a stream and its readers over time', async () => {
    await rawChat(url, 'sim:tps=0,tokens=100000,ttft=0,size=400', { reads: false });
    const page = await openConsole();
    await shows(page, '.verdict', '1 model is made to wait');
    await page.keyboard.press('Tab');
    await focuses(page, 'Skip to content');
    await tabTo(page, 'Model');
    await page.keyboard.press('Enter');
    expect(await page.getByRole('columnheader', { name: 'Model' }).getAttribute('aria-sort')).toBe(
      'ascending',
    );
    await tabTo(page, 'unnamed client');
    await page.keyboard.press('Enter');
    await shows(page, 'h1', 'sim:tps=0');
    await shows(page, '.explain', 'The model is made to wait');
    await shows(page, '.timeline', 'Reader 1 http, coalesce');
    // What waits, what happened, and that the model is not made to go on.
    await page.locator('.lane .lag-area').first().waitFor();
    await page.locator('.lane .mark[data-type="paused"]').first().waitFor();
    await page.locator('.lane .pause').first().waitFor();
    await shows(page, '.events', 'first token');
    await isAccessible(page);
  });

  test('says of a stream that it is over, and of one that it does not know', async () => {
    const stop = await openChat('sim:tps=20,tokens=100000,ttft=0');
    const page = await openConsole();
    await page.getByRole('link', { name: 'node', exact: true }).first().click();
    await shows(page, '.explain', 'Every reader keeps up.');
    stop.abort();
    await shows(page, '.explain', 'The stream is over: it was cancelled');
    await page.goto(`${adminUrl}/#/streams/none`);
    await shows(page, 'main', 'The gateway has no such stream');
  });

  test('plays: what merges loses nothing, what drops says so, and a plain pipe piles up', async () => {
    const page = await openConsole('#/playground', { colorScheme: 'dark' });
    // The third step of seven: a hundred tokens.
    await page.getByRole('slider', { name: 'Length' }).focus();
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowLeft');
    await page.getByRole('button', { name: 'Start' }).click();
    await shows(page, '.model-panel .now', 'All 100 tokens made');
    // Whoever looks may change how fast somebody reads.
    await page.getByRole('article', { name: 'Plain pipe' }).getByRole('slider').press('End');
    const results = async (): Promise<string[]> => await page.locator('.result').allInnerTexts();
    await eventually(
      async () => (await results()).every((result) => result.startsWith('Done')),
      'four results',
    );
    const [quick, merging, dropping, pipe] = await results();
    expect(quick).toContain('nothing lost');
    expect(merging).toContain('nothing lost');
    expect(dropping).toMatch(/\d+ tokens lost/);
    expect(pipe).toMatch(/up to \S+ KiB piled up/);
    await shows(page, '.reader-card >> nth=1', /100 tokens read in \d+ events, \d+ merged/);
    await isAccessible(page);
  });

  test('takes nothing in a tab that nobody sees, and then all that it missed', async () => {
    const page = await browser.newPage();
    onTestFinished(() => page.close());
    // A hidden tab gets no frames.
    await page.addInitScript(() => {
      const paint = globalThis.requestAnimationFrame.bind(globalThis);
      const waiting: FrameRequestCallback[] = [];
      let isHidden = false;
      globalThis.requestAnimationFrame = (callback) => (isHidden ? waiting.push(callback) : paint(callback));
      addEventListener('test-hide', () => (isHidden = true));
      addEventListener('test-show', () => {
        isHidden = false;
        for (const callback of waiting.splice(0)) paint(callback);
      });
    });
    let snapshots = 0;
    page.on('websocket', (socket) =>
      socket.on('framereceived', ({ payload }) => (snapshots += typeof payload === 'string' ? 0 : 1)),
    );
    await page.goto(adminUrl);
    await eventually(() => snapshots > 1, 'snapshots');
    await page.evaluate(() => dispatchEvent(new Event('test-hide')));
    // The one that was on its way may come, and nothing else.
    const atMost = snapshots + 1;
    const { samples } = await historySize();
    await eventually(async () => (await historySize()).samples > samples + 3, 'the gateway to go on');
    expect(snapshots).toBeLessThanOrEqual(atMost);
    await page.evaluate(() => dispatchEvent(new Event('test-show')));
    await eventually(() => snapshots > atMost + 1, 'snapshots again');
  });

  test('has a thousand streams in a document of a few', async () => {
    await Promise.all(
      Array.from({ length: 1000 }, (_, at) => openChat('sim:tps=1,tokens=100000,ttft=0', `many/${at}`)),
    );
    const page = await openConsole('', { viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
    await shows(page, '.count', '1,000 open');
    expect(await page.locator('*').count()).toBeLessThan(1500);
    expect(await page.locator('table').getAttribute('aria-rowcount')).toBe('1001');
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await page.locator('tr[aria-rowindex="1001"]').waitFor();
    expect(await page.locator('*').count()).toBeLessThan(1500);
    // Nothing is wider than the phone.
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    await isAccessible(page);
  });

  test('asks for a key where one is needed', async () => {
    const guarded = await startGateway(['--admin-host', '0.0.0.0'], {
      env: { SPILLWAY_ADMIN_KEYS: 'operator-key-of-the-test' },
    });
    const page = await browser.newPage();
    onTestFinished(() => page.close());
    await page.goto(guarded.adminUrl.replace('0.0.0.0', '127.0.0.1'));
    await page.getByLabel('Key').fill('another');
    await page.keyboard.press('Enter');
    await shows(page, '.key-form', 'SPILLWAY_ADMIN_KEYS');
    await shows(page, '[role="alert"]', 'The gateway does not know this key.');
    await isAccessible(page);
    await page.getByLabel('Key').fill('operator-key-of-the-test');
    await page.keyboard.press('Enter');
    await shows(page, '.verdict', 'Nothing is wrong');
    await page.getByRole('link', { name: 'Gateway' }).click();
    await page.getByRole('button', { name: 'Drain' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
    await shows(page, '.drain', 'Drained since');
    await page.getByRole('link', { name: 'Overview' }).click();
    await shows(page, '.verdict', 'The gateway is drained and takes no new streams.');
    expect((await fetch(`${guarded.url}/health/ready`)).status).toBe(503);
    await page.getByRole('link', { name: 'take new streams again' }).click();
    await page.getByRole('button', { name: 'Take new streams again' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Take new streams again' }).click();
    await shows(page, '.drain', 'The gateway takes new streams.');
    expect((await fetch(`${guarded.url}/health/ready`)).status).toBe(200);
  });

  test('leads from what failed to each of them, and from there to what it means', async () => {
    const own = await startGateway();
    for (const fault of ['cut=1000', 'cut=1000', 'status=429']) {
      await (await postChat(own.url, `sim:tps=0,ttft=0,tokens=20,${fault}`)).text().catch(() => '');
    }
    const whole = await postChat(own.url, 'sim:tps=0,ttft=0,tokens=5');
    await whole.text();
    const page = await openConsole('', {}, own.adminUrl);
    await shows(page, '.verdict', '3 streams failed in the last minute.');
    // What the verdict says and what the chart says is one figure.
    await shows(page, '.chart', 'failed 3');
    await page.getByRole('link', { name: 'which' }).click();
    await shows(page, '.ended .count', '3 streams');
    await shows(page, '.chip[aria-current]', 'failed 3');
    expect(await page.locator('.ended-table tbody tr').count()).toBe(3);
    await isAccessible(page);
    await page.getByLabel('Error').selectOption('upstream_invalid');
    await shows(page, '.ended .count', '1 stream');
    await page.locator('.ended-table .when a').click();
    await shows(page, '.explain', 'The stream is over: it failed. The provider answered with status 429');
    await shows(page, '.refusal', 'Status 429');
    await shows(page, '.gone', 'got what the provider said instead');
    await isAccessible(page);
    await page.getByRole('link', { name: 'What upstream_invalid means' }).click();
    await page.locator('#doc-upstream_invalid').waitFor();
    await isAccessible(page);
    // What a client was given leads there, too.
    await page.goto(`${own.adminUrl}/#/ended`);
    const request = whole.headers.get('x-spillway-request-id') ?? '';
    await page.getByLabel('Request or stream').fill(` ${request}`);
    await page.getByRole('button', { name: 'Find' }).click();
    await shows(page, '.facts', request);
    await shows(page, '.explain', 'all of it came');
    expect(page.url()).not.toContain(request);
    await page.goto(`${own.adminUrl}/#/docs/runbook/spillwaystalling`);
    await shows(page, '.doc h2', 'SpillwayStalling');
    await isAccessible(page);
  });

  test('cancels a stream and detaches a reader, when somebody says so twice', async () => {
    const own = await startGateway();
    const doomed = await postChat(own.url, 'sim:tps=20,ttft=0,tokens=100000');
    const page = await openConsole('', {}, own.adminUrl);
    await page.locator('.streams .client a').click();
    await page.getByRole('button', { name: 'Detach' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'No' }).click();
    await shows(page, '.explain', 'Every reader keeps up.');
    await page.getByRole('button', { name: 'Cancel the stream' }).click();
    // What is asked has the focus, and the way out of it first.
    await focuses(page, 'No');
    await isAccessible(page);
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel the stream' }).click();
    await shows(page, '.explain', 'An operator of the gateway cancelled the stream.');
    expect(await doomed.text()).toContain('An operator of the gateway cancelled the stream.');
    expect(await page.getByRole('button', { name: 'Cancel the stream' }).count()).toBe(0);
  });

  test('shows taps: up, then down with what waits, in a stream’s lane too, and what to do', async () => {
    const folder = temporaryFolder();
    const own = await startGateway([
      '--tap',
      `name=audit,to=sqlite:${folder}/audit.db,gate=true,deadlineMs=60s`,
      '--tap',
      `name=usage,to=file:${folder}/usage.jsonl,content=usage`,
    ]);
    await rawChat(own.url, 'sim:tps=50,tokens=100000,ttft=0');
    const page = await openConsole('#/taps', {}, own.adminUrl);
    await shows(page, '.tap >> nth=0', /audit\s*●\s*up since/);
    await shows(page, '.tap >> nth=0', /1:\d+:[0-9a-f]{64}/);
    await shows(page, '.tap >> nth=1', 'usage.jsonl');
    await shows(page, '.tap >> nth=1', /[1-9]\d* records?/);
    await isAccessible(page);
    await page.goto(`${own.adminUrl}/#/`);
    await page.locator('.streams .client a').click();
    await shows(page, '.lane-row >> nth=2', /Tap audit, gate[^]*[\d,]+ of [\d,]+ chunks kept/);
    expect(await page.locator('.lane-row[data-level="bad"]').count()).toBe(0);
    const release = holdLog(join(folder, 'audit.db'));
    await shows(page, '.lane-row[data-level="bad"]', 'Readers have waited for it for');
    await shows(page, '.explain', /for a tap/);
    await isAccessible(page);
    await page.goto(`${own.adminUrl}/#/taps`);
    await shows(page, '.tap >> nth=0', /down since/);
    await page.goto(`${own.adminUrl}/#/`);
    await shows(page, '.verdict', 'The tap audit is down since');
    await page.locator('.verdict').getByRole('link', { name: 'what to do' }).first().click();
    await page.locator('#doc-spillwaytapdown').waitFor();
    release();
    await page.goto(`${own.adminUrl}/#/`);
    await shows(page, '.verdict', 'Nothing is wrong');
  });

  test('shows providers: who is asked, who is not and why, who waits, and how far', async () => {
    const bounds = 'apiKeyEnv=KEY,maxStreams=1,maxWaiting=4,waitMs=60s,breakMs=60s';
    const simulator = await startSimulator();
    const upstream = ['one', 'two'].map((name) => `name=${name},url=${simulator.url}/v1,${bounds}`).join(' ');
    const model = 'name=fast,targets=one/sim:status=500,fallback=two/sim';
    const env = { KEY: 'theirs' };
    const args = ['--upstream', upstream, '--model', model, '--wait-timeout-ms', '60s'];
    const own = await startGateway(args, { env });
    const page = await openConsole('#/providers', {}, own.adminUrl);
    await shows(page, '.names', /fast\s*one\/sim:status=500\s*then two\/sim/);
    for (let asked = 0; asked < 5; asked += 1) await (await postChat(own.url, 'fast')).text();
    await shows(page, '.names', 'one/sim:status=500 not asked');
    await shows(page, '.gate >> nth=0', /sim:status=500[^]*not asked for [\d.]+ s/);
    await shows(page, '.gate >> nth=0', 'The last failure: upstream_invalid (status 500)');
    await shows(page, '.title .sub >> nth=0', '0 requests refused, 5 gone on to another target');
    await shows(page, '.gone', /one\/sim:status=500 at [\d:]+\s*fails too often, and is not asked/);
    const full = 'two/sim:ttft=0,tps=50,tokens=100000';
    await rawChat(own.url, full);
    await rawChat(own.url, full);
    await rawChat(own.url, full);
    await shows(page, '.gate >> nth=2', /1 of 1\s*waiting[^]*2 of 4/);
    await isAccessible(page);
    await page.goto(`${own.adminUrl}/#/`);
    await shows(
      page,
      '.verdict',
      /The model one\/sim:status=500 is not asked: it failed too often, next try in [\d.]+ s/,
    );
    await page.locator('.verdict').getByRole('link', { name: 'where' }).first().click();
    await shows(page, 'h1', 'Providers');
    await page.goto(`${own.adminUrl}/#/`);
    await page.locator('.streams tr', { hasText: '1 before it' }).locator('.client a').click();
    await shows(page, '.explain', 'No place is free: the request waits for one, 1 before it.');
    const ended = (await (await fetch(`${own.adminUrl}/ended?model=fast`)).json()) as EndedPage;
    await page.goto(`${own.adminUrl}/#/streams/${ended.streams.at(-1)?.id}`);
    await shows(page, '.events', /next target asked\s*one\/sim:status=500 upstream_invalid, then two\/sim/);
  });

  test('shows pressure: since when and why, and its list behind a triangle in the same line', async () => {
    const args = ['--max-streams', '5', '--pressure', 'level=1,models=sim*,maxTokens=1000'];
    const own = await startGateway(args);
    for (let at = 0; at < 4; at += 1) await rawChat(own.url, 'sim:tps=20,tokens=100000,ttft=0');
    const page = await openConsole('', {}, own.adminUrl);
    // A busy machine may be what it comes from.
    await shows(page, '.verdict', /give way to pressure, at level \d of 3, because this process's/);
    const line = page.locator('.events summary');
    await line.waitFor();
    const heights = await line.evaluate((summary) =>
      [summary, ...summary.children].map((element) => element.getBoundingClientRect().height),
    );
    expect(heights[0]).toBeLessThan(1.5 * (heights[1] ?? 0));
  });

  test('shows tenants: what they may use, what they have used, and what it cost', async () => {
    const env = { SPILLWAY_API_KEYS: 'clinic/web=sk-web,lab=sk-lab' };
    const clinic = 'name=clinic,tokensPerDay=2000,streams=5,costPerMonth=0.02';
    const priced = ['--price', 'model=sim*,input=1,output=2.5', '--currency', 'EUR'];
    const own = await startGateway(['--tenant', clinic, ...priced], { env });
    const page = await openConsole('#/tenants', {}, own.adminUrl);
    await shows(page, '.tenant >> nth=0', /clinic\s*no stream now/);
    await shows(page, '.limits', /tokensPerDay\s*0 of 2,000/);
    await shows(page, '.limits', /costPerMonth\s*0.00 EUR of 0.02 EUR/);
    const headers = { authorization: 'Bearer sk-web' };
    await (await postChat(own.url, 'sim:tokens=100,tps=0,ttft=0', { headers })).text();
    await shows(page, '.use td >> nth=0', /^1$/);
    await shows(page, '.tenant >> nth=0', /of these estimated/);
    // A hundred tokens of the answer, and those of the prompt.
    await shows(page, '.tenant >> nth=0', /0\.0002[5-9]\d* EUR/);
    const other = { headers: { authorization: 'Bearer sk-lab' } };
    await (await postChat(own.url, 'sim:tokens=5,tps=0,ttft=0', other)).text();
    await shows(page, '.tenant >> nth=1', /lab[^]*It has no limits/);
    await isAccessible(page);
  });

  test('says what a column means to the keyboard, and what a moment was to a pointer', async () => {
    await openChat('sim:tps=20,tokens=100000,ttft=0', 'quick/1.0');
    const page = await openConsole();
    await tabTo(page, 'Credit');
    await page.getByRole('tooltip').filter({ hasText: 'Bytes that the reader may be sent' }).waitFor();
    expect(await page.getByRole('tooltip').filter({ visible: true }).count()).toBe(1);
    await page.locator('.chart .plot').first().hover();
    await shows(page, '.chart-title', /at \d\d:\d\d:\d\d/);
    await page.locator('.streams .client a').first().click();
    await page.locator('.lane').first().hover();
    await page.locator('.pointed').first().waitFor();
  });

  test('says what a moment was to a finger, too', async () => {
    await openChat('sim:tps=20,tokens=100000,ttft=0');
    const page = await openConsole('', { hasTouch: true });
    const plot = await page.locator('.chart .plot').first().boundingBox();
    await page.touchscreen.tap((plot?.x ?? 0) + (plot?.width ?? 0) * 0.6, (plot?.y ?? 0) + 40);
    await shows(page, '.chart-title', /at \d\d:\d\d:\d\d/);
  });

  test('says of simulated models that they are', async () => {
    const page = await openConsole('#/gateway');
    await shows(page, '.banner', 'Simulated models: every answer is made up');
    await shows(page, '.facts', 'simulated');
    await page.getByRole('button', { name: /^all/ }).click();
    await shows(page, '.settings-panel', 'windowBytes');
    await isAccessible(page);
  });

  test('lets a call be heard over both bridges, interrupts it, and shows what became of the answer', async () => {
    const page = await browser.newPage({ viewport: { width: 1440, height: 1000 } });
    onTestFinished(() => page.close());
    page.on('pageerror', (error) => expect.unreachable(`the page throws: ${error.message}`));
    // What goes to the loudspeaker goes to this, too.
    await page.addInitScript(() => {
      const meters: AnalyserNode[] = [];
      const connect = Object.getOwnPropertyDescriptor(AudioNode.prototype, 'connect')?.value as (
        this: AudioNode,
        to: AudioNode,
      ) => AudioNode;
      AudioNode.prototype.connect = function (this: AudioNode, to: AudioNode): AudioNode {
        if (to instanceof AudioDestinationNode) {
          const meter = new AnalyserNode(to.context);
          connect.call(this, meter);
          meters.push(meter);
        }
        return connect.call(this, to);
      } as typeof AudioNode.prototype.connect;
      Object.assign(globalThis, {
        loudness: (): number => {
          const wave = new Float32Array(2048);
          return Math.max(
            ...meters.map((meter) => {
              meter.getFloatTimeDomainData(wave);
              return meter.context.state === 'closed' ? 0 : Math.max(...wave);
            }),
            0,
          );
        },
      });
    });
    const loudness = (): Promise<number> =>
      page.evaluate(() => (globalThis as unknown as { loudness: () => number }).loudness());
    await page.goto(`${adminUrl}/#/calls`);
    await page.getByRole('button', { name: 'Call', exact: true }).click();
    const spillway = page.getByRole('region', { name: 'Spillway' });
    const naive = page.getByRole('region', { name: 'A naive bridge' });
    await eventually(async () => (await loudness()) > 0.05, 'a sound');
    // Both are fed the same, and the greeting waits in different places.
    await naive
      .getByText(/^[2-3],\d{3} ms$/)
      .first()
      .waitFor();
    expect(await spillway.locator('dd').first().textContent()).toMatch(/^[1-8]?\d{1,2} ms of 800 ms$/);
    await shows(page, '.running-call', 'twilio');
    await isAccessible(page);
    await page.locator('.demonstration').getByRole('button', { name: 'Interrupt' }).click();
    await spillway
      .getByText(/^It was quiet after \d+ ms\. Dropped: .* The model was told [\d,]+ ms\.$/)
      .waitFor();
    await naive
      .getByText(/^It talked on for [\d,]+ ms\. Nothing was dropped, and the model was told nothing/)
      .waitFor();
    await shows(page, '.words', 'Wait, stop. I only have one question.');
    await shows(
      page,
      '.demonstration [role="status"]',
      /^The caller spoke into an answer\. Spillway was quiet after/,
    );
    // The other bridge, when neither is heard any more, and the caller says its words to both.
    await page.getByRole('radio', { name: 'a naive bridge' }).check();
    await eventually(async () => (await loudness()) > 0.05, 'a sound of the other bridge');
    await page.getByRole('button', { name: 'Hang up' }).click();
    await shows(page, '.demonstration [role="status"]', 'The call is over.');
    await shows(page, '.calls-table', 'the caller hung up');
    await eventually(async () => (await loudness()) === 0, 'silence');
    await isAccessible(page);
  });

  test('offers nothing to do with calls of a gateway that is gone, and shows its whole axis on a telephone', async () => {
    const gone = spawnSpillway(['serve', '--port', '0', '--admin-port', '0']);
    const at = await printed(gone, /Spillway on (\S+)/);
    const call = await placeCall(`${at.replace('http', 'ws')}/voice/twilio`);
    const viewport = { width: 360, height: 740 };
    const page = await openConsole('#/calls', { viewport }, await printed(gone, /Console (\S+)\//));
    const running = page.getByRole('article', { name: `Call ${call.callId}` });
    const interrupt = running.getByRole('button', { name: 'Interrupt', exact: true });
    await interrupt.waitFor();
    expect(await interrupt.isEnabled()).toBe(true);
    const axis = page.locator('.ms-axis').first();
    const isWhole = await axis.evaluate((element) => element.scrollWidth <= element.clientWidth);
    expect(isWhole).toBe(true);
    gone.process.kill('SIGKILL');
    await Promise.all([gone.exited, call.ended]);
    await eventually(() => interrupt.isDisabled(), 'the button to be off');
    expect(await running.getByRole('button', { name: 'End' }).isDisabled()).toBe(true);
  });

  test('shows what is in each stage of a cascade, on a telephone too', async (context) => {
    const missing = (await fliteMissing()) ?? (await pocketsphinxMissing());
    context.skip(missing !== undefined, missing);
    const own = await startGateway();
    const call = await placeCall(`${own.url.replace('http', 'ws')}/voice/twilio`);
    const page = await openConsole('#/calls', { viewport: { width: 360, height: 740 } }, own.adminUrl);
    const stages = page.getByRole('group', { name: 'Stages of the call' });
    await stages.getByRole('row', { name: /^Recognise pocketsphinx/ }).waitFor();
    await stages.getByRole('row', { name: /^Reason openai-chat/ }).waitFor();
    await stages.getByRole('row', { name: /^Speak flite/ }).waitFor();
    await isAccessible(page);
    call.hangUp();
    await call.ended;
  });

  test('ends a call for an operator after a question, and says why there is none to hear', async () => {
    const call = await placeCall(`${url.replace('http', 'ws')}/voice/twilio`);
    const page = await openConsole('#/calls');
    const running = page.getByRole('article', { name: `Call ${call.callId}` });
    await running.getByRole('button', { name: 'End' }).click();
    await page.getByRole('dialog', { name: 'End this call?' }).getByRole('button', { name: 'End' }).click();
    expect((await call.ended).end.why).toBe('closed');
    await shows(page, '.calls-table', 'ended here');
    await running.waitFor({ state: 'detached' });
    const real = spawnSpillway(['serve', '--port', '0', '--admin-port', '0', '--upstream', `${url}/v1`]);
    onTestFinished(async () => {
      real.process.kill('SIGKILL');
      await real.exited;
    });
    const other = await openConsole('#/calls', {}, await printed(real, /Console (\S+)\//));
    await shows(other, '.not-here', 'It is made with the simulated model, on loopback');
    await shows(other, '.calls', 'This gateway takes no calls.');
  });

  test.each([
    '',
    '#/ended',
    '#/providers',
    '#/taps',
    '#/tenants',
    '#/calls',
    '#/gateway',
    '#/playground',
    '#/docs/operating',
    '#/docs/errors/upstream_cut',
  ])('fits a phone, and nothing moves while it is looked at: %s', async (hash) => {
    await rawChat(url, 'sim:tps=0,tokens=100000,ttft=0,size=400', { reads: false });
    // Until everything is as it stays: what is news moves what is below it.
    const before = await openConsole();
    await shows(before, '.verdict', '1 model is made to wait');
    const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
    onTestFinished(() => page.close());
    await page.addInitScript(() => {
      const moves: { readonly value: number; readonly what: string }[] = [];
      Object.assign(globalThis, { moves });
      // A verdict that says something else may take another line.
      let said = '';
      let saidAtMs = -Infinity;
      new MutationObserver(() => {
        const now = document.querySelector('.verdict')?.textContent.replaceAll(/\d+/g, '') ?? '';
        if (now !== said) saidAtMs = performance.now();
        said = now;
      }).observe(document, { subtree: true, childList: true, characterData: true });
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries() as LayoutShift[]) {
          if (Math.abs(entry.startTime - saidAtMs) < 200) continue;
          const nodes = entry.sources.map(
            ({ node }) => (node as Element | null)?.className ?? node?.nodeName,
          );
          moves.push({ value: entry.value, what: nodes.join() });
        }
      }).observe({ type: 'layout-shift', buffered: true });
    });
    await page.goto(`${adminUrl}/${hash}`);
    await page.locator('main h1').first().waitFor({ state: 'attached' });
    // Causes are told on a phone, too.
    if (hash === '') await shows(page, '.reader-lag .why', 'slow link');
    const { samples } = await historySize();
    await eventually(async () => (await historySize()).samples > samples + 2, 'the gateway to go on');
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    const moves = await page.evaluate(() => (globalThis as unknown as { moves: LayoutShift[] }).moves);
    // Web Vitals calls up to 0.1 good.
    const sum = moves.reduce((total, { value }) => total + value, 0);
    expect(sum, JSON.stringify(moves)).toBeLessThan(0.1);
  });
});

/** What the library of types does not know yet. */
interface LayoutShift extends PerformanceEntry {
  readonly value: number;
  readonly sources: readonly { readonly node: Node | null }[];
}

/** Whether what was built is older than what it is built from. */
function isStale(): boolean {
  if (!existsSync(built)) return true;
  const builtMs = statSync(built).mtimeMs;
  const sources = globSync(
    ['{console,packages/core,packages/client}/{src/**/*,*.{html,ts,json}}', 'docs/*.md'],
    {
      cwd: repository,
    },
  );
  return sources.some((source) => statSync(join(repository, source)).mtimeMs > builtMs);
}

async function openConsole(hash = '', options: BrowserContextOptions = {}, at = adminUrl): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, ...options });
  onTestFinished(() => page.close());
  page.on('pageerror', (error) => expect.unreachable(`the page throws: ${error.message}`));
  await page.goto(`${at}/${hash}`);
  return page;
}

/**
 * Opens a stream that lasts as long as the test. Its response is held: one that is garbage would be closed, whenever that is
 * found out.
 */
async function openChat(model: string, agent = 'node'): Promise<AbortController> {
  const leave = new AbortController();
  const { signal } = leave;
  const response = await postChat(url, model, { signal, headers: { 'user-agent': agent } });
  onTestFinished(() => {
    leave.abort();
    expect(response.status).toBe(200);
  });
  return leave;
}

/** Waits until an element shows a text. */
async function shows(page: Page, selector: string, text: RegExp | string): Promise<void> {
  await page.locator(selector).filter({ hasText: text }).first().waitFor({ timeout: 30_000 });
}

async function focuses(page: Page, text: string): Promise<void> {
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe(text);
}

/** Goes on with the tab key until something has the focus. */
async function tabTo(page: Page, text: string): Promise<void> {
  // What comes with the gateway's first word is not there to begin with.
  await page.getByText(text, { exact: true }).first().waitFor({ timeout: 30_000 });
  const seen: string[] = [];
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press('Tab');
    const focused = (await page.evaluate(() => document.activeElement?.textContent)) ?? '';
    if (focused.trim() === text) return;
    seen.push(focused.trim());
  }
  throw new Error(`the tab key never came to ${text}, but to ${seen.join(' | ')}`);
}

async function historySize(): Promise<{ samples: number }> {
  const history = (await (await fetch(`${adminUrl}/history`)).json()) as unknown[];
  return { samples: history.length };
}

/** Nothing that axe calls serious or worse. */
async function isAccessible(page: Page): Promise<void> {
  await page.evaluate(axe);
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const found = await page.evaluate(async () => {
      const { axe: checker } = globalThis as unknown as { axe: { run: () => Promise<AxeResults> } };
      const { violations } = await checker.run();
      return violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join('\n')}`);
    });
    expect(found, colorScheme).toEqual([]);
  }
}
