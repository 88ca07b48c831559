import { hash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { VirtualClock } from '../../core/src/testing/virtual-clock.ts';
import { costOf, priceOf } from '../src/limit/price-of.ts';
import { noUsage } from '../src/limit/usage-figures.ts';
import { otherTenants, UsageBook } from '../src/limit/usage-book.ts';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { eventually, run, type RunningGateway, startGateway } from './support/processes.ts';
import { metric, postChat } from './support/requests.ts';

const env = { SPILLWAY_API_KEYS: 'clinic/web=sk-web,clinic/batch=sk-batch,lab=sk-lab' };
const limits = [
  ['--tenant', 'name=clinic,tokensPerDay=100000,streams=5,requests=100/s,costPerMonth=20'],
  ['--price', 'model=sim*,input=1,output=2.5'],
  ['--currency', 'EUR'],
].flat();
const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

async function usageOf(gateway: RunningGateway, key: string): Promise<TenantReport> {
  const response = await fetch(`${gateway.url}/usage`, { headers: bearer(key) });
  expect(response.status).toBe(200);
  return (await response.json()) as TenantReport;
}

function temporaryFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, 'limits.json');
}

test('a tenant sees what its keys have used, in tokens and in money, and nothing of others', async () => {
  const gateway = await startGateway(limits, { env });
  const answers = ['sk-web', 'sk-batch', 'sk-lab'].map(async (key) => {
    const response = await postChat(gateway.url, 'sim:tokens=40,tps=0,ttft=0', {
      headers: bearer(key),
      stream: false,
    });
    return (await response.json()) as { usage: { prompt_tokens: number; completion_tokens: number } };
  });
  const [web, batch] = await Promise.all(answers);
  await eventually(
    async () => (await usageOf(gateway, 'sk-lab')).usage.today.requests === 1,
    'the account of lab',
  );
  const report = await usageOf(gateway, 'sk-web');
  const inputTokens = (web?.usage.prompt_tokens ?? 0) + (batch?.usage.prompt_tokens ?? 0);
  const outputTokens = (web?.usage.completion_tokens ?? 0) + (batch?.usage.completion_tokens ?? 0);
  expect(outputTokens).toBeGreaterThanOrEqual(80);
  const figures = {
    ...noUsage,
    requests: 2,
    inputTokens,
    outputTokens,
    cost: Math.ceil(inputTokens / 2) * 2 + outputTokens * 2.5,
  };
  expect(report).toMatchObject({ tenant: 'clinic', currency: 'EUR', streamsNow: 0 });
  expect(report.usage).toEqual({ today: figures, month: figures, sinceStart: figures });
  const places = {
    scope: 'tenant',
    key: '',
    name: 'streams',
    limit: 5,
    used: 0,
    reserved: 0,
    remaining: 5,
    resetMs: null,
  };
  expect(report.limits).toContainEqual(places);
  expect(report.limits?.map(({ name }) => name)).toEqual([
    'requests',
    'streams',
    'tokensPerDay',
    'costPerMonth',
  ]);
  const usedOf = (name: string): number | undefined =>
    report.limits?.find((limit) => limit.name === name)?.used;
  // What limits count is what the account says.
  expect(usedOf('tokensPerDay')).toBe(inputTokens + outputTokens);
  expect(usedOf('costPerMonth')).toBe(figures.cost);
  const lab = await usageOf(gateway, 'sk-lab');
  expect(lab).toMatchObject({ tenant: 'lab', limits: [], usage: { today: { requests: 1 } } });
  expect((await fetch(`${gateway.url}/usage`)).status).toBe(401);
  expect((await fetch(`${gateway.url}/usage?tenant=lab`, { headers: bearer('sk-web') })).status).toBe(400);

  const tenants = (await (await fetch(`${gateway.adminUrl}/tenants`)).json()) as TenantReport[];
  expect(tenants.map(({ tenant }) => tenant)).toEqual(['clinic', 'lab']);
  expect(tenants[0]?.usage).toEqual(report.usage);
  expect(await metric(gateway.adminUrl, 'spillway_tenant_tokens_total{tenant="clinic",type="output"}')).toBe(
    outputTokens,
  );
  expect(await metric(gateway.adminUrl, 'spillway_limit_max{tenant="clinic",limit="tokensPerDay"}')).toBe(
    100_000,
  );
  expect(await metric(gateway.adminUrl, 'spillway_tenant_cost_total{tenant="clinic",type="used"}')).toBe(
    figures.cost / 1_000_000,
  );
});

test.each([
  ['with limits', ['--tenant', 'name=clinic,tokensPerDay=30000,costPerDay=1']],
  ['without', []],
])('what runs no model adds neither tokens nor money, %s', async (_what, tenant) => {
  const events = `data: ${JSON.stringify({ type: 'response.output_text.delta', delta: 'word' })}\n\n`;
  const usage = { input_tokens: 100, output_tokens: 100, prompt_tokens: 100, completion_tokens: 100 };
  const done = `data: ${JSON.stringify({ type: 'response.completed', response: { usage } })}\n\n`;
  const provider = createServer((request, response) => {
    request.resume().on('end', () => {
      const isEvents = request.method === 'GET';
      response.writeHead(200, { 'content-type': isEvents ? 'text/event-stream' : 'application/json' });
      response.end(
        isEvents ? events.repeat(50) + done : JSON.stringify({ usage, output: 'word '.repeat(500) }),
      );
    });
  }).listen(0, '127.0.0.1');
  await once(provider, 'listening');
  onTestFinished(() => void provider.close());
  const url = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`;
  const upstream = ['--upstream', `name=local,url=${url}`, '--price', 'model=*,input=1,output=1'];
  const gateway = await startGateway([...upstream, ...tenant], { env });
  const asked = [
    ['POST', '/v1/responses/resp_1/cancel'],
    ['POST', '/v1/files'],
    ['POST', '/v1/uploads'],
    ['DELETE', '/v1/files/file_1'],
    ['GET', '/v1/responses/resp_1?stream=true'],
  ] as const;
  for (const [method, path] of asked) {
    const response = await fetch(`${gateway.url}${path}`, {
      method,
      headers: { ...bearer('sk-web'), 'content-type': 'application/json' },
      ...(method === 'POST' ? { body: JSON.stringify({ text: 'word '.repeat(800) }) } : {}),
    });
    expect(response.status).toBe(200);
    await response.arrayBuffer();
  }
  const report = await eventually(async () => {
    const read = await usageOf(gateway, 'sk-web');
    return read.usage.today.requests === asked.length && read;
  }, 'the account');
  expect(report.usage.today).toEqual({ ...noUsage, requests: asked.length });
  for (const { name, used } of report.limits ?? []) expect([name, used]).toEqual([name, 0]);
  // What may run one is counted by its prompt.
  await fetch(`${gateway.url}/v1/embeddings`, {
    method: 'POST',
    headers: { ...bearer('sk-web'), 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', input: 'word '.repeat(800) }),
  }).then((response) => response.arrayBuffer());
  await eventually(
    async () => (await usageOf(gateway, 'sk-web')).usage.today.inputTokens > 900,
    'the prompt in the account',
  );
});

test('what no provider reported is an estimate, and what nobody was written is wasted', async () => {
  const gateway = await startGateway(limits, { env });
  await (await postChat(gateway.url, 'sim:tokens=60,tps=0,ttft=0', { headers: bearer('sk-web') })).text();
  await eventually(
    async () => (await usageOf(gateway, 'sk-web')).usage.today.requests === 1,
    'a whole answer',
  );
  const whole = (await usageOf(gateway, 'sk-web')).usage.today;
  expect(whole.outputTokens).toBeGreaterThanOrEqual(60);
  expect(whole).toMatchObject({
    estimatedTokens: whole.inputTokens + whole.outputTokens,
    wastedTokens: 0,
    savedTokens: 0,
    unpricedTokens: 0,
  });
  // It begins, waits for ever, and its reader, who was written everything, leaves.
  await readAndLeave(gateway, 'sim:stall=10,tps=0,ttft=0');
  await eventually(async () => (await usageOf(gateway, 'sk-web')).usage.today.requests === 2, 'its end');
  const { streamsNow, usage } = await usageOf(gateway, 'sk-web');
  expect(streamsNow).toBe(0);
  expect(usage.today.wastedTokens).toBeLessThanOrEqual(1);
  expect(usage.today.savedTokens).toBeGreaterThan(30);
  expect(usage.today.savedCost).toBe(Math.ceil(usage.today.savedTokens * 2.5));
});

test('with prices alone, what no provider reported is estimated as with limits', async () => {
  const gateway = await startGateway(['--price', 'model=sim*,input=1,output=2.5'], { env });
  const messages = [{ role: 'user', content: 'word '.repeat(8000) }];
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...bearer('sk-web'), 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'sim:tokens=60,tps=0,ttft=0', stream: true, messages }),
  });
  await response.text();
  await eventually(async () => (await usageOf(gateway, 'sk-web')).usage.today.requests === 1, 'its end');
  const { cost, estimatedTokens, inputTokens, outputTokens } = (await usageOf(gateway, 'sk-web')).usage.today;
  expect(inputTokens).toBeGreaterThan(9900);
  expect(inputTokens).toBeLessThan(10_200);
  expect(outputTokens).toBeGreaterThanOrEqual(60);
  expect(estimatedTokens).toBe(inputTokens + outputTokens);
  expect(cost).toBe(Math.ceil(inputTokens + 2.5 * outputTokens));
});

test('a rate is shown as it was written', async () => {
  const gateway = await startGateway(['--tenant', 'name=clinic,requests=10/s+burst+3'], { env });
  const { limits: known } = await usageOf(gateway, 'sk-web');
  expect(known).toMatchObject([
    { name: 'requests', limit: 3, rate: { text: '10/s burst 3', perSecond: 10, burst: 3 } },
  ]);
});

test('what the model goes on to write when everybody has left is wasted', async () => {
  const gateway = await startGateway([...limits, '--detach', 'finish'], { env });
  // Seconds of it: a machine that is busy may let the client leave late.
  await readAndLeave(gateway, 'sim:tokens=800,tps=200,ttft=0');
  await eventually(async () => (await usageOf(gateway, 'sk-web')).usage.today.requests === 1, 'its end');
  const { outputTokens, savedTokens, wastedCost, wastedTokens } = (await usageOf(gateway, 'sk-web')).usage
    .today;
  expect(outputTokens).toBeGreaterThanOrEqual(800);
  expect(savedTokens).toBe(0);
  expect(wastedTokens).toBeGreaterThan(20);
  expect(wastedTokens).toBeLessThan(outputTokens - 5);
  expect(wastedCost).toBe(Math.ceil(wastedTokens * 2.5));
});

/** Reads some events of an answer, and leaves. */
async function readAndLeave(gateway: RunningGateway, model: string): Promise<void> {
  const leaving = new AbortController();
  const options = { headers: bearer('sk-web'), signal: leaving.signal };
  const { body } = await postChat(gateway.url, model, options);
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  for (let text = ''; text.split('data: ').length <= 10;)
    text += decoder.decode((await reader?.read())?.value, { stream: true });
  leaving.abort();
}

test('what a limit refuses is counted, with the limit, and costs nothing', async () => {
  const gateway = await startGateway(['--tenant', 'name=clinic,requests=1/min'], { env });
  const statuses: number[] = [];
  for (const key of ['sk-web', 'sk-batch', 'sk-web']) {
    const response = await postChat(gateway.url, 'sim:tokens=5,tps=0,ttft=0', { headers: bearer(key) });
    await response.text();
    statuses.push(response.status);
  }
  expect(statuses).toEqual([200, 429, 429]);
  await eventually(async () => (await usageOf(gateway, 'sk-web')).usage.today.requests === 1, 'the account');
  expect((await usageOf(gateway, 'sk-web')).usage.today).toMatchObject({ requests: 1, refused: 2, cut: 0 });
  expect(
    await metric(gateway.adminUrl, 'spillway_limit_refusals_total{scope="tenant",limit="requests"}'),
  ).toBe(2);
});

test('an answer that a limit ends is counted, with the limit', async () => {
  const gateway = await startGateway(['--tenant', 'name=clinic,answerTokens=300'], { env });
  await (await postChat(gateway.url, 'sim:tokens=900,tps=0,ttft=0', { headers: bearer('sk-web') })).text();
  await eventually(async () => (await usageOf(gateway, 'sk-web')).usage.today.requests === 1, 'the account');
  expect((await usageOf(gateway, 'sk-web')).usage.today).toMatchObject({ requests: 1, refused: 0, cut: 1 });
  expect(
    await metric(gateway.adminUrl, 'spillway_limit_cuts_total{scope="answer",limit="answerTokens"}'),
  ).toBe(1);
});

test('limits that come by a reload are counted from then on', async () => {
  const folder = temporaryFile();
  writeFileSync(folder, 'logLevel: info\n');
  const gateway = await startGateway(['--config', folder], { env });
  expect((await fetch(`${gateway.url}/usage`, { headers: bearer('sk-web') })).status).toBe(404);
  writeFileSync(folder, 'tenant: [{ name: clinic, tokensPerDay: 9000 }]\n');
  gateway.process.kill('SIGHUP');
  const isCounting = async (): Promise<boolean> =>
    (await fetch(`${gateway.url}/usage`, { headers: bearer('sk-web') })).status === 200;
  await eventually(isCounting, 'the reload');
  await (await postChat(gateway.url, 'sim:tokens=5,tps=0,ttft=0', { headers: bearer('sk-web') })).text();
  await eventually(async () => (await usageOf(gateway, 'sk-web')).usage.today.requests === 1, 'the account');
  const { limits: known, usage } = await usageOf(gateway, 'sk-web');
  const used = usage.today.inputTokens + usage.today.outputTokens;
  expect(known).toMatchObject([{ name: 'tokensPerDay', used }]);
});

test('a stream keeps the price that it started with, in its limit and in its account, with limits and without', async () => {
  const path = temporaryFile();
  const settings = (output: number): string =>
    `price: [{ model: 'sim*', input: 0, output: ${output} }]\ntenant: [{ name: clinic, costPerDay: 20 }]\n`;
  writeFileSync(path, settings(4));
  const gateway = await startGateway(['--config', path], { env });
  const keys = ['sk-web', 'sk-lab'];
  const running = await Promise.all(
    keys.map((key) => postChat(gateway.url, 'sim:tokens=30,tps=30,ttft=0', { headers: bearer(key) })),
  );
  writeFileSync(path, settings(400));
  const reloaded = await fetch(`${gateway.adminUrl}/reload`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  expect(reloaded.status).toBe(200);
  await Promise.all(running.map((response) => response.text()));
  for (const key of keys) {
    const isOver = async (): Promise<boolean> => (await usageOf(gateway, key)).usage.today.requests === 1;
    await eventually(isOver, 'the account');
    const { limits: known, usage } = await usageOf(gateway, key);
    const { cost, outputTokens } = usage.today;
    expect(cost).toBe(outputTokens * 4);
    if (key === 'sk-web') expect(known).toMatchObject([{ name: 'costPerDay', used: cost }]);
  }
});

test('without limits and prices nothing is counted, and the path says so', async () => {
  const gateway = await startGateway();
  const response = await fetch(`${gateway.url}/usage`);
  expect(response.status).toBe(404);
  expect(await response.text()).toContain('neither limits nor prices');
  expect(await (await fetch(`${gateway.adminUrl}/tenants`)).json()).toEqual([]);
  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  expect(metrics).not.toContain('spillway_tenant');
});

test('limits that nobody has used yet are there, and those that are not added up are as configured', async () => {
  const path = temporaryFile();
  const digest = hash('sha256', 'sk-night');
  writeFileSync(path, `ward/night sha256:${digest} tokensPerSecond=30\nlab/day=sk-day\n`);
  const gateway = await startGateway([
    '--tenant',
    'name=clinic,models=sim*,priority=high,answerTokens=500,answerMs=1m,userRequests=4/min',
    '--tenant',
    'name=*,answerTokensPerSecond=80,sessionTokens=9000,tokensPerSecond=400',
    '--api-keys-file',
    path,
  ]);
  const tenants = (await (await fetch(`${gateway.adminUrl}/tenants`)).json()) as TenantReport[];
  expect(tenants.map(({ tenant }) => tenant)).toEqual(['clinic', 'lab', 'ward']);
  const configuredOf = ({ configured }: TenantReport): string[] =>
    configured.map(({ key, name, scope, value }) => `${scope} ${key}${key && ' '}${name} ${value}`);
  expect(tenants.map(configuredOf)).toEqual([
    [
      'tenant models sim*',
      'tenant priority high',
      'answer answerTokens 500',
      'answer answerMs 60000',
      'user userRequests 4/min',
    ],
    ['tenant tokensPerSecond 400', 'answer answerTokensPerSecond 80', 'session sessionTokens 9000'],
    [
      'tenant tokensPerSecond 400',
      'answer answerTokensPerSecond 80',
      'session sessionTokens 9000',
      'key ward/night tokensPerSecond 30',
    ],
  ]);
  const own = await usageOf(gateway, 'sk-day');
  expect(configuredOf(own)).toEqual(tenants[1] && configuredOf(tenants[1]));
});

test('who asks without a key is one tenant without a name', async () => {
  const gateway = await startGateway(['--tenant', 'name=*,tokensPerDay=5000']);
  await (await postChat(gateway.url, 'sim:tokens=5,tps=0,ttft=0')).text();
  await eventually(async () => (await usageOf(gateway, '')).usage.today.requests === 1, 'its account');
  const report = await usageOf(gateway, '');
  expect(report.tenant).toBe('');
  const { inputTokens, outputTokens, unpricedTokens } = report.usage.today;
  expect(unpricedTokens).toBe(inputTokens + outputTokens);
  const used = inputTokens + outputTokens;
  expect(report.limits).toMatchObject([{ name: 'tokensPerDay', limit: 5000, used, remaining: 5000 - used }]);
});

test('a file keeps what was used over a stop and a start, and nobody else can read it', async () => {
  const path = temporaryFile();
  const args = [...limits, '--limit-store', `file:${path}`];
  const first = await startGateway(args, { env });
  await (await postChat(first.url, 'sim:tokens=30,tps=0,ttft=0', { headers: bearer('sk-web') })).text();
  await eventually(async () => (await usageOf(first, 'sk-web')).usage.today.requests === 1, 'its account');
  const { limits: before, usage } = await usageOf(first, 'sk-web');
  // One gateway at a time has the file.
  const other = run(['serve', '--port', '0', '--admin-port', '0', ...args], { env });
  expect(await other.exited).toBe(78);
  expect(other.stderr()).toContain('is in use already, here or by another program');
  first.process.kill('SIGTERM');
  await first.exited;
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(existsSync(`${path}.next`)).toBe(false);
  const second = await startGateway(args, { env });
  const again = await usageOf(second, 'sk-web');
  expect(again.usage.today).toEqual(usage.today);
  expect(again.usage.sinceStart).toEqual(noUsage);
  const usedOf = (of: TenantReport['limits']): number =>
    of?.find(({ name }) => name === 'tokensPerDay')?.used ?? 0;
  expect(usedOf(again.limits)).toBe(usedOf(before));
  expect(usedOf(before)).toBeGreaterThan(30);
});

test('a crash loses five seconds at most', async () => {
  const path = temporaryFile();
  const args = [...limits, '--limit-store', `file:${path}`];
  const first = await startGateway(args, { env });
  await (await postChat(first.url, 'sim:tokens=30,tps=0,ttft=0', { headers: bearer('sk-web') })).text();
  await eventually(
    () => existsSync(path) && readFileSync(path, 'utf8').includes('clinic'),
    'the file',
    10_000,
  );
  first.process.kill('SIGKILL');
  await first.exited;
  const second = await startGateway(args, { env });
  expect((await usageOf(second, 'sk-web')).usage.today.requests).toBe(1);
});

test.each([
  ['no JSON', 'sk-live-secret', 'a file that is no JSON'],
  [
    'JSON of something else',
    '{"version":2}',
    'a file that no gateway of this version has written (at version)',
  ],
  [
    'numbers that are none',
    '{"version":1,"budgets":[{"key":"a","spent":-1,"startMs":0,"endMs":1}],"usage":[]}',
    '(at budgets.0.spent)',
  ],
])('a file with %s is refused and left as it is', async (_what, text, message) => {
  const path = temporaryFile();
  writeFileSync(path, text);
  chmodSync(path, 0o600);
  const gateway = run(
    ['serve', '--port', '0', '--admin-port', '0', ...limits, '--limit-store', `file:${path}`],
    { env },
  );
  expect(await gateway.exited).toBe(78);
  expect(gateway.stderr()).toContain(message);
  expect(gateway.stderr()).not.toContain('secret');
  expect(readFileSync(path, 'utf8')).toBe(text);
});

test('the price of the day counts, and the first row that fits', () => {
  const row = (model: string, since: string, input: number, output: number) => ({
    model,
    sinceMs: Date.parse(since),
    input,
    output,
  });
  const prices = [
    row('m-*', '2026-07-01', 2_000_000, 8_000_000),
    row('m-*', '2026-01-01', 2_500_000, 10_000_000),
    row('*', '2020-01-01', 1_000_000, 1_000_000),
  ];
  const cost = (model: string, date: string): number =>
    costOf(priceOf(prices, [model], Date.parse(date)), 1_000_000, 500_000);
  expect(cost('m-1', '2026-06-30T23:59:59.999Z')).toBe(7_500_000);
  expect(cost('m-1', '2026-07-01T00:00:00.000Z')).toBe(6_000_000);
  expect(cost('other', '2026-07-01')).toBe(1_500_000);
  expect(cost('other', '2019-07-01')).toBe(0);
  // What costs anything costs at least a millionth.
  expect(costOf(prices[0], 1, 0)).toBe(2);
  expect(costOf({ model: '*', sinceMs: 0, input: 1, output: 1 }, 1, 0)).toBe(1);
});

test('accounts begin again with the day and the month, and tenants are bounded', async () => {
  const clock = new VirtualClock({ startDateMs: Date.UTC(2026, 0, 31, 23, 59) });
  const book = new UsageBook(clock);
  book.add('clinic', { requests: 1, cost: 5 });
  const saved = book.saved();
  const later = new UsageBook(new VirtualClock({ startDateMs: Date.UTC(2026, 0, 31, 23, 59, 59) }), saved);
  expect(later.usageOf('clinic')).toMatchObject({
    today: { cost: 5 },
    month: { cost: 5 },
    sinceStart: { cost: 0 },
  });
  await clock.advance(60_000);
  expect(book.usageOf('clinic')).toMatchObject({ today: noUsage, month: noUsage, sinceStart: { cost: 5 } });
  book.add('clinic', { cost: 2 });
  await clock.advance(86_400_000);
  expect(book.usageOf('clinic')).toMatchObject({
    today: noUsage,
    month: { cost: 2 },
    sinceStart: { cost: 7 },
  });
  expect(new UsageBook(clock, saved).usageOf('clinic')).toMatchObject({ today: noUsage, month: noUsage });
  for (let index = 0; index < 2000; index += 1) book.add(`tenant-${index}`, { requests: 1 });
  expect(book.tenants).toHaveLength(1001);
  expect(book.usageOf(otherTenants).sinceStart.requests).toBe(1001);
});
