import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Certificates, makeCertificates } from './support/certificates.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { type RunningGateway, startGateway, startSimulator } from './support/processes.ts';
import { metric, postChat, rawChat, simulatorStats } from './support/requests.ts';
import { eventually } from './support/spawn.ts';

let certificates: Certificates;
beforeAll(() => {
  certificates = makeCertificates();
});
afterAll(() => certificates.remove());

const every = ['--canary-ms', '100'];
const runs = ({ adminUrl }: RunningGateway, result: 'failed' | 'ok'): Promise<number> =>
  metric(adminUrl, `spillway_canary_runs_total{result="${result}"}`);
const sings = (gateway: RunningGateway): Promise<unknown> =>
  eventually(async () => (await runs(gateway, 'ok')) >= 2, 'the canary to sing');

test('a canary asks the gateway by its own listener, and no provider', async () => {
  const simulator = await startSimulator();
  const gateway = await startGateway([...every, '--upstream', `${simulator.url}/v1`], {
    env: { SPILLWAY_API_KEYS: 'alpha' },
  });
  await sings(gateway);
  const now = Date.now() / 1000;
  const at = await metric(gateway.adminUrl, 'spillway_canary_last_success_timestamp_seconds');
  expect(now - at).toBeLessThan(10);
  const firstToken = await metric(gateway.adminUrl, 'spillway_canary_time_to_first_token_seconds');
  expect(firstToken).toBeGreaterThan(0);
  expect(firstToken).toBeLessThan(10);
  expect(await runs(gateway, 'failed')).toBe(0);
  expect(await simulatorStats(simulator.url)).toEqual([]);
  // What clients get is not made more or faster by it, and it is worth no line of the log.
  for (const name of [
    'spillway_streams_ended_total{state="completed"}',
    'spillway_tokens_total{stage="generated"}',
    'spillway_tokens_total{stage="delivered"}',
    'spillway_bytes_out_total',
    'spillway_readers_ended_total{reason="delivered"}',
  ]) {
    expect(await metric(gateway.adminUrl, name), name).toBe(0);
  }
  const scraped = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  expect(scraped).not.toContain('spillway-canary');
  const samples = (await (await fetch(`${gateway.adminUrl}/history`)).json()) as readonly {
    readonly ttftMs: unknown;
  }[];
  expect(samples.every(({ ttftMs }) => ttftMs === null)).toBe(true);
  expect(linesOf(gateway, 'stream ended')).toEqual([]);
  // Nobody else gets to its provider: neither by its name nor in the list of models.
  const headers = { authorization: 'Bearer alpha' };
  await (await postChat(gateway.url, 'spillway-canary/sim:tokens=1', { headers })).text();
  const asked = await simulatorStats(simulator.url);
  expect(asked).toHaveLength(1);
  const models = await (await fetch(`${gateway.url}/v1/models`, { headers })).text();
  expect(models).not.toContain('canary');
});

test.each([
  [
    'with TLS',
    () => ['--tls-cert-file', certificates.server.certFile, '--tls-key-file', certificates.server.keyFile],
  ],
  ['behind a proxy of this machine', () => ['--proxy-protocol', '--trusted-proxies', '127.0.0.1']],
  ['of a gateway that has only another API', () => ['--upstream', 'api=anthropic,url=http://127.0.0.1:9']],
  [
    'with both',
    () => [
      '--tls-cert-file',
      certificates.server.certFile,
      '--tls-key-file',
      certificates.server.keyFile,
      '--proxy-protocol',
      '--trusted-proxies',
      '127.0.0.1',
    ],
  ],
] as const)('a canary sings on a listener %s', async (_what, args) => {
  const gateway = await startGateway([...every, ...args()]);
  await sings(gateway);
  expect(await runs(gateway, 'failed')).toBe(0);
});

test('the console’s list of ended streams is of others', async () => {
  const gateway = await startGateway([...every, '--retain-ms', '300']);
  await sings(gateway);
  await (await postChat(gateway.url, 'sim:tps=0,ttft=0,tokens=3')).text();
  // Some canaries are kept, and some are not any more.
  await eventually(async () => (await runs(gateway, 'ok')) >= 10, 'more canaries');
  const response = await fetch(`${gateway.adminUrl}/ended`);
  const { counts, found } = (await response.json()) as { counts: { provider: object }; found: number };
  expect({ found, providers: Object.keys(counts.provider) }).toEqual({ found: 1, providers: ['simulated'] });
});

test('a canary falls silent when the gateway has no place for it, and sings again when it has one', async () => {
  const gateway = await startGateway([...every, '--max-streams', '1', '--max-waiting', '0']);
  await sings(gateway);
  const held = await eventually(async () => {
    const chat = await rawChat(gateway.url, 'sim:tokens=100000,tps=20,ttft=0');
    // So few streams have few connections: one may be closed for another before it has asked.
    await eventually(() => chat.socket.closed || chat.received().includes('\r\n\r\n'), 'an answer');
    return chat.received().startsWith('HTTP/1.1 200') && chat;
  }, 'the place between two songs');
  const before = await runs(gateway, 'ok');
  await eventually(async () => (await runs(gateway, 'failed')) >= 2, 'the canary to fall silent');
  expect(await runs(gateway, 'ok')).toBeLessThanOrEqual(before + 1);
  await lineWith(gateway, 'the canary failed', { reason: 'Error: expected status 200, got 503' });
  held.socket.destroy();
  const silent = await runs(gateway, 'ok');
  await eventually(async () => (await runs(gateway, 'ok')) > silent, 'the canary to sing again');
});

test('without the setting there is no canary', async () => {
  const gateway = await startGateway();
  const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  expect(text).not.toContain('spillway_canary');
});
