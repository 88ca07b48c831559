import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { replyText } from '../src/simulate/tokens.ts';
import { eventually, residentBytes, type RunningGateway, startBoth } from './support/processes.ts';
import { metric, postChat, simulatorStats } from './support/requests.ts';
import { sdks } from './support/sdks.ts';
import { contentIn, openStream } from './support/stream-url.ts';

/** A gateway whose tenants have these limits, in front of a provider at full speed. */
async function startPaced(
  limits: string,
  args: readonly string[] = [],
): Promise<RunningGateway & { simulatorUrl: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-paces-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const config = join(folder, 'spillway.yaml');
  writeFileSync(config, `tenant:\n  - name: '*'\n    ${limits}\n`);
  const { gateway, simulator } = await startBoth(['--config', config, ...args]);
  return Object.assign(gateway, { simulatorUrl: simulator.url });
}

const stalls = 'spillway_stalls_total{cause="limit"}';

test('a paced answer is whole for every official SDK, and never faster than its pace', async () => {
  const gateway = await startPaced('answerTokensPerSecond: 40');
  await Promise.all(
    sdks.map(async ({ name, stream }) => {
      const startMs = performance.now();
      const text = await stream({ url: gateway.url, apiKey: 'k' }, 'sim:tokens=60,tps=0,ttft=0');
      expect(text, name).toBe(replyText(60, 0));
      // But for the first four.
      expect(performance.now() - startMs, name).toBeGreaterThanOrEqual((60 - 4) * 25 - 25);
    }),
  );
  expect(await metric(gateway.adminUrl, stalls)).toBeGreaterThanOrEqual(sdks.length);
});

test('answers of one end user share a pace, and another user has one of its own', async () => {
  const gateway = await startPaced('userTokensPerSecond: 40');
  const timeOf = async (user: string, count: number): Promise<number> => {
    const startMs = performance.now();
    const headers = { 'spillway-user': user };
    await Promise.all(
      Array.from({ length: count }, async () => {
        const response = await postChat(gateway.url, 'sim:tokens=30,tps=0,ttft=0', { headers });
        expect(contentIn(await response.text())).toBe(replyText(30, 0));
      }),
    );
    return performance.now() - startMs;
  };
  const [two, one] = await Promise.all([timeOf('ada', 2), timeOf('bob', 1)]);
  expect(two).toBeGreaterThanOrEqual((60 - 4) * 25 - 25);
  expect(one).toBeLessThan(two);
});

test('no timeout ends who is only paced: neither the reader nor the provider', async () => {
  const timeouts = ['--stall-timeout-ms', '500', '--idle-timeout-ms', '500', '--keep-alive-ms', '100'];
  const gateway = await startPaced('answerTokensPerSecond: 2', [
    ...timeouts,
    '--min-bytes-per-second',
    '1000000',
  ]);
  const startMs = performance.now();
  const { response, url } = await openStream(gateway.url, 'sim:tokens=9,tps=0,ttft=0');
  const first = response.text();
  // Who comes later gets at once what others had to wait for.
  await eventually(
    async () => (await metric(gateway.adminUrl, 'spillway_tokens_total{stage="delivered"}')) >= 6,
    'six events',
  );
  const second = await fetch(url).then((later) => later.text());
  expect(contentIn(second).length).toBeGreaterThanOrEqual(replyText(5, 0).length);
  const text = await first;
  expect(performance.now() - startMs).toBeGreaterThanOrEqual(2400);
  expect(contentIn(text)).toBe(replyText(9, 0));
  // The connection is kept alive meanwhile.
  expect(text).toContain(': ping');
});

test('a provider at full speed waits in its own socket: what is held does not grow, and the stall is told', async () => {
  const gateway = await startPaced('tokensPerSecond: 5');
  const aborts = Array.from({ length: 20 }, () => new AbortController());
  const opened = await Promise.all(
    aborts.map(({ signal }) => openStream(gateway.url, 'sim:tokens=200000,tps=0,ttft=0', { signal })),
  );
  onTestFinished(() => aborts.forEach((abort) => abort.abort()));
  const paused = 'spillway_streams{state="paused"}';
  await eventually(async () => (await metric(gateway.adminUrl, paused)) === opened.length, 'all to wait');
  const before = residentBytes(gateway);
  const sentOf = async (): Promise<number> => {
    const requests = await simulatorStats(gateway.simulatorUrl);
    return Math.max(...requests.map(({ tokens }) => tokens));
  };
  const sent = await eventually(async () => {
    const earlier = await sentOf();
    await new Promise((resolve) => setTimeout(resolve, 300));
    return (await sentOf()) === earlier && earlier;
  }, 'the provider to stand still');
  expect(sent).toBeLessThan(200_000);
  expect(await metric(gateway.adminUrl, 'spillway_held_bytes')).toBeLessThan(20 * 65_536);
  // Each answer has 40 MB.
  expect(residentBytes(gateway) - before).toBeLessThan(20 * 1_048_576);
  expect(await metric(gateway.adminUrl, 'spillway_stall_seconds_total{cause="limit"}')).toBeGreaterThan(1);
  // Their readers have everything that may go: nothing is behind.
  expect(await metric(gateway.adminUrl, 'spillway_readers_lagging')).toBe(0);
  // Who leaves is not kept by the pace.
  for (const abort of aborts) abort.abort();
  const live = 'spillway_streams{state="paused"}';
  await eventually(async () => (await metric(gateway.adminUrl, live)) === 0, 'all to be gone', 15_000);
});
