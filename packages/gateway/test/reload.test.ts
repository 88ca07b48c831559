import { createHash } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import { makeCertificates } from './support/certificates.ts';
import { eventually, type RunningGateway, startGateway, startSimulator } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { metric, payloads, postChat, simulatorStats } from './support/requests.ts';
import { chatRequest, openSession } from './support/session.ts';

const successful = 'spillway_config_last_reload_successful';
const loadedAt = 'spillway_config_last_reload_success_timestamp_seconds';
const line = (name: string, key: string): string =>
  `${name} sha256:${createHash('sha256').update(key).digest('hex')}\n`;
const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

interface Reloadable extends RunningGateway {
  readonly configPath: string;
  /** Writes the configuration, and has it loaded. Returns what the log says of it. */
  readonly reload: (config?: Record<string, unknown> | string) => Promise<Record<string, unknown>>;
  /** The lines of the log with that message. */
  readonly logged: (message: string) => Record<string, unknown>[];
}

async function startReloadable(
  config: Record<string, unknown>,
  args: readonly string[] = [],
): Promise<Reloadable> {
  const folder = temporaryFolder();
  const configPath = join(folder, 'spillway.yaml');
  writeFileSync(configPath, stringify(config));
  const gateway = await startGateway(args, { cwd: folder });
  const lines = (): Record<string, unknown>[] =>
    gateway
      .stderr()
      .split('\n')
      .slice(0, -1)
      .map((text) => JSON.parse(text) as Record<string, unknown>);
  const outcomes = (): Record<string, unknown>[] =>
    lines().filter(({ msg }) => String(msg).startsWith('the configuration was '));
  return Object.assign(gateway, {
    configPath,
    logged: (message: string) => lines().filter(({ msg }) => msg === message),
    async reload(next?: Record<string, unknown> | string) {
      if (next !== undefined) writeFileSync(configPath, typeof next === 'string' ? next : stringify(next));
      const before = outcomes().length;
      gateway.process.kill('SIGHUP');
      return await eventually(() => outcomes()[before], 'the reload to be logged');
    },
  });
}

interface CountingProvider {
  readonly url: string;
  readonly server: Server;
  /** The keys that its requests had. */
  readonly keys: string[];
  /** Ends the answers that are open. */
  readonly finish: () => void;
}

/** A provider that says one word, and the rest when it is told to. */
async function startProvider(word: string): Promise<CountingProvider> {
  const open = new Set<ServerResponse>();
  const keys: string[] = [];
  const server = createServer((request, response) => {
    request.resume();
    keys.push(request.headers.authorization ?? '');
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const choices = [{ index: 0, delta: { content: word } }];
    response.write(`data: ${JSON.stringify({ choices })}\n\n`);
    open.add(response);
  });
  // Longer than a test waits: no connection closes for being idle.
  server.keepAliveTimeout = 120_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    server,
    keys,
    finish() {
      for (const response of open) response.end('data: [DONE]\n\n');
      open.clear();
    },
  };
}

function connectionsOf({ server }: CountingProvider): Promise<number> {
  return new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
}

describe('SIGHUP', () => {
  test('puts other keys of clients in force; running streams of a removed key go on', async () => {
    const keysPath = join(temporaryFolder(), 'keys');
    writeFileSync(keysPath, line('old', 'sk-old') + line('both', 'sk-both'));
    const gateway = await startReloadable({ apiKeysFile: keysPath });
    const ask = (key: string, model = 'sim:tokens=1,tps=0'): Promise<Response> =>
      postChat(gateway.url, model, { headers: bearer(key) });
    const running = await ask('sk-old', 'sim:tokens=100,tps=50,ttft=0');
    const session = await openSession(gateway.url);
    const request = (stream: number) =>
      chatRequest('sim:tokens=1,tps=0', { stream, headers: bearer('sk-old') });
    session.send(request(1));
    await eventually(() => session.of('end', 1).length === 1, 'its first request to be answered');

    writeFileSync(keysPath, line('new', 'sk-new') + line('both', 'sk-both'));
    expect(await gateway.reload()).toMatchObject({ changed: ['apiKeys'] });
    expect((await ask('sk-old')).status).toBe(401);
    for (const key of ['sk-new', 'sk-both']) expect((await ask(key)).status, key).toBe(200);
    // The session was opened with that key; a request over it needs one that is valid now.
    session.send(request(2));
    await eventually(() => session.of('end', 2).length === 1, 'its second request to be answered');
    expect([1, 2].map((stream) => session.of('response', stream)[0]?.status)).toEqual([200, 401]);
    const words = payloads(await running.text());
    expect(words).toHaveLength(103);
    expect(words.at(-1)).toBe('[DONE]');
    // Nobody reads it with a key that is not valid any more.
    const path = running.headers.get('content-location') ?? '';
    expect(path).toMatch(/^\/streams\//);
    expect((await fetch(new URL(path, gateway.url), { headers: bearer('sk-old') })).status).toBe(401);
  });

  test('puts other keys of operators in force', async () => {
    const keysPath = join(temporaryFolder(), 'keys');
    writeFileSync(keysPath, line('old', 'sk-old'));
    const gateway = await startReloadable({ adminHost: '0.0.0.0', adminKeysFile: keysPath });
    const status = async (key: string): Promise<number> =>
      (await fetch(`${gateway.adminUrl}/history`, { headers: bearer(key) })).status;
    expect([await status('sk-old'), await status('sk-new')]).toEqual([200, 401]);
    writeFileSync(keysPath, line('new', 'sk-new'));
    expect(await gateway.reload()).toMatchObject({ changed: ['adminKeys'] });
    expect([await status('sk-old'), await status('sk-new')]).toEqual([401, 200]);
  });

  test('leaves the canary its key', async () => {
    const keysPath = join(temporaryFolder(), 'keys');
    writeFileSync(keysPath, line('old', 'sk-old'));
    const gateway = await startReloadable({ apiKeysFile: keysPath, canaryMs: 100 });
    const runs = (result: string): Promise<number> =>
      metric(gateway.adminUrl, `spillway_canary_runs_total{result="${result}"}`);
    writeFileSync(keysPath, line('new', 'sk-new'));
    expect(await gateway.reload()).toMatchObject({ changed: ['apiKeys'] });
    const before = await runs('ok');
    await eventually(async () => (await runs('ok')) >= before + 2, 'the canary to sing on');
    expect(await runs('failed')).toBe(0);
  });

  test('puts other providers in force; connections to the old ones close when their requests are done', async () => {
    const [one, two] = await Promise.all(['one', 'two'].map(startProvider));
    if (one === undefined || two === undefined) throw new Error('there are two');
    const gateway = await startReloadable({ upstream: [{ name: 'a', url: one.url }] });
    const running = await postChat(gateway.url, 'm');
    const idle = await postChat(gateway.url, 'm');
    await eventually(async () => (await connectionsOf(one)) === 2, 'two connections');

    expect(await gateway.reload({ upstream: [{ name: 'b', url: two.url }] })).toMatchObject({
      changed: ['providers'],
    });
    const next = await postChat(gateway.url, 'b/m');
    one.finish();
    two.finish();
    for (const response of [running, idle]) expect(await response.text()).toMatch(/"one".*\[DONE\]/s);
    expect(await next.text()).toMatch(/"two".*\[DONE\]/s);
    await eventually(async () => (await connectionsOf(one)) === 0, 'the connections to close');
    expect(await connectionsOf(two)).toBe(1);
  });

  test('counts on what runs at a provider, and lets in or refuses those that wait', async () => {
    const simulator = await startSimulator();
    const upstream = (bounds: object): Record<string, unknown> => ({
      upstream: [{ name: 'a', url: `${simulator.url}/v1`, waitMs: '60s', ...bounds }],
    });
    const gateway = await startReloadable(upstream({ maxStreams: 4, minStreams: 4 }));
    const left = new AbortController();
    onTestFinished(() => left.abort());
    const ask = (): Promise<Response> => postChat(gateway.url, 'sim:ttft=0,stall=1', { signal: left.signal });
    const running = await Promise.all([ask(), ask(), ask(), ask()]);
    const waiting = [ask(), ask()];
    const streams = (): Promise<number> => metric(gateway.adminUrl, 'spillway_provider_streams');
    const waits = (): Promise<number> => metric(gateway.adminUrl, 'spillway_provider_waiting');
    await eventually(async () => (await waits()) === 2, 'two to wait');
    expect(await gateway.reload(upstream({ maxStreams: 6, minStreams: 6 }))).toMatchObject({
      changed: ['providers'],
    });
    for (const response of [...running, ...(await Promise.all(waiting))]) expect(response.status).toBe(200);
    expect(await streams()).toBe(6);
    await gateway.reload(upstream({ maxStreams: 5, minStreams: 5, maxWaiting: 0 }));
    const refused = await ask();
    expect(refused.status).toBe(503);
    expect(await refused.text()).toContain('5 for streams of the model sim:ttft=0,stall=1 of the provider a');
    expect(await streams()).toBe(6);
    expect(await simulatorStats(simulator.url)).toHaveLength(6);
  });

  test('reads certificates again', async () => {
    const certificates = makeCertificates();
    onTestFinished(() => certificates.remove());
    const { cert, key } = certificates.server;
    const server = createTlsServer({ cert, key }, (request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: [DONE]\n\n');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const caFile = join(temporaryFolder(), 'ca.pem');
    writeFileSync(caFile, certificates.stranger.cert);
    const url = `https://localhost:${(server.address() as AddressInfo).port}/v1`;
    const gateway = await startReloadable({ upstream: [{ name: 'a', url, caFile }] });
    expect((await postChat(gateway.url, 'm')).status).toBe(502);
    writeFileSync(caFile, certificates.authority.cert);
    await gateway.reload();
    expect(await (await postChat(gateway.url, 'm')).text()).toContain('[DONE]');
  });

  test('changes the level of the log', async () => {
    const gateway = await startReloadable({ logLevel: 'info' });
    const ask = async (): Promise<void> =>
      void (await (await postChat(gateway.url, 'sim:tokens=1,tps=0')).text());
    await ask();
    await eventually(() => gateway.logged('stream ended').length === 1, 'a line');
    expect(await gateway.reload({ logLevel: 'error' })).toMatchObject({ changed: ['logLevel'] });
    await ask();
    writeFileSync(gateway.configPath, 'logLevel: info\n');
    gateway.process.kill('SIGHUP');
    await eventually(() => gateway.logged('the configuration was reloaded').length === 2, 'the next reload');
    await ask();
    await eventually(() => gateway.logged('stream ended').length === 2, 'a line of the third');
  });

  test.each([
    ['a file that is no YAML', 'windowBytes: [', /spillway\.yaml/],
    ['a setting that does not exist', 'nothing: 1\n', /nothing: unknown setting/],
    ['a provider without its key', 'upstream: [{ url: "http://127.0.0.1:9/v1", apiKeyEnv: NONE }]\n', /NONE/],
    ['a file of keys that is not there', 'apiKeysFile: /nowhere/keys\n', /apiKeysFile/],
  ])('%s is said, and changes nothing', async (_what, text, reason) => {
    const provider = await startProvider('one');
    const config = { upstream: [{ name: 'a', url: provider.url }] };
    const gateway = await startReloadable(config);
    expect(await metric(gateway.adminUrl, successful)).toBe(1);
    const startedAt = await metric(gateway.adminUrl, loadedAt);
    expect(Math.abs(startedAt - Date.now() / 1000)).toBeLessThan(60);
    const logged = await gateway.reload(text);
    expect(logged).toMatchObject({ level: 50, reason: expect.stringMatching(reason) as string });
    expect(await metric(gateway.adminUrl, successful)).toBe(0);
    expect(await metric(gateway.adminUrl, loadedAt)).toBe(startedAt);
    const response = await postChat(gateway.url, 'a/m');
    provider.finish();
    expect(await response.text()).toContain('[DONE]');
    expect(await gateway.reload(config)).toMatchObject({ level: 30, changed: [] });
    expect(await metric(gateway.adminUrl, successful)).toBe(1);
    expect(await metric(gateway.adminUrl, loadedAt)).toBeGreaterThan(startedAt);
  });

  test('whoever takes the last key away, or brings the first, is refused: that needs a restart', async () => {
    const keysPath = join(temporaryFolder(), 'keys');
    writeFileSync(keysPath, line('one', 'sk-one'));
    const locked = await startReloadable({ apiKeysFile: keysPath });
    expect(await locked.reload('')).toMatchObject({
      reason: expect.stringMatching(/^keys of clients:/) as string,
    });
    expect((await postChat(locked.url, 'sim')).status).toBe(401);
    const open = await startReloadable({});
    expect(await open.reload({ apiKeysFile: keysPath })).toMatchObject({
      reason: expect.stringMatching(/^keys of clients:/) as string,
    });
  });

  test('a file that is gone is no empty one', async () => {
    const provider = await startProvider('one');
    const gateway = await startReloadable({ upstream: [{ name: 'a', url: provider.url }] });
    rmSync(gateway.configPath);
    expect(await gateway.reload()).toMatchObject({ reason: 'spillway.yaml: expected the file, got none' });
  });

  test('names what needs a restart, each time, and puts the rest in force', async () => {
    const [one, two] = await Promise.all(['one', 'two'].map(startProvider));
    const gateway = await startReloadable({ upstream: [{ name: 'a', url: one?.url }] });
    const next = { upstream: [{ name: 'a', url: two?.url }], maxStreams: 7, host: '127.0.0.2' };
    const needed = (): Promise<number> => metric(gateway.adminUrl, 'spillway_config_restart_needed');
    expect(await needed()).toBe(0);
    const warning = 'changes of settings that need a restart are not in force';
    for (const times of [1, 2]) {
      expect(await gateway.reload(next)).toMatchObject({ changed: times === 1 ? ['providers'] : [] });
      await eventually(() => gateway.logged(warning).length === times, 'the warning');
      expect(gateway.logged(warning).at(-1)).toMatchObject({ settings: ['host', 'maxStreams'] });
    }
    expect(await needed()).toBe(2);
    const response = await postChat(gateway.url, 'a/m');
    two?.finish();
    expect(await response.text()).toContain('"two"');
    await gateway.reload({ ...next, upstream: [] });
    await eventually(() => gateway.logged(warning).length === 3, 'the warning');
    expect(gateway.logged(warning).at(-1)).toMatchObject({ settings: ['host', 'maxStreams', 'upstream'] });
    // The change is taken back.
    await gateway.reload({ upstream: [{ name: 'a', url: two?.url }] });
    expect(await needed()).toBe(0);
  });

  test('as often as it comes, under load: no stream is lost, cut or refused', async () => {
    const simulators = await Promise.all([startSimulator(), startSimulator()]);
    const keysPath = join(temporaryFolder(), 'keys');
    const keys = line('steady', 'sk-steady');
    writeFileSync(keysPath, keys);
    const configs = simulators.map(({ url }) => ({
      apiKeysFile: keysPath,
      logLevel: 'warn',
      upstream: [{ name: 'up', url: `${url}/v1` }],
    }));
    const [first = {}] = configs;
    const gateway = await startReloadable(first);
    const load = { isOver: false, completed: 0 };
    const read = async (): Promise<void> => {
      while (!load.isOver) {
        const response = await postChat(gateway.url, 'up/sim:tokens=20,tps=200,ttft=5', {
          headers: bearer('sk-steady'),
        });
        expect(response.status).toBe(200);
        const words = payloads(await response.text());
        expect(words.at(-1)).toBe('[DONE]');
        expect(words).toHaveLength(23);
        load.completed += 1;
      }
    };
    const readers = Promise.all(Array.from({ length: 10 }, read));
    for (let round = 0; round < 60 || load.completed < 50; round += 1) {
      // Every third configuration is wrong, and every fifth file of keys has another key more.
      writeFileSync(keysPath, round % 5 === 0 ? keys + line('guest', 'sk-guest') : keys);
      writeFileSync(gateway.configPath, round % 3 === 2 ? 'upstream: 1' : stringify(configs[round % 2]));
      gateway.process.kill('SIGHUP');
      await sleep(25);
    }
    load.isOver = true;
    await readers;
    const asked = await Promise.all(
      simulators.map(
        async ({ url }) =>
          ((await (await fetch(`${url}/stats`)).json()) as { requests: unknown[] }).requests.length,
      ),
    );
    for (const count of asked) expect(count).toBeGreaterThan(0);
  });
});
