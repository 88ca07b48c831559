import { type Client, openClient, type StreamItem } from '../../client/src/index.ts';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import type { Overview, StreamDetail, StreamRow, Totals } from '@spillway/server/console/snapshot';
import { holdLog } from './support/held-log.ts';
import type { ProvidersSnapshot } from '../src/telemetry/providers-snapshot.ts';
import { eventually, startBoth, startGateway, startSimulator } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { chatBody, postChat, rawChat } from './support/requests.ts';

function open(url: string): Client {
  const client = openClient({ url });
  onTestFinished(() => client.close());
  return client;
}

async function* snapshots<Snapshot>(client: Client, path: string): AsyncGenerator<Snapshot, void> {
  for await (const item of client.read(path, { from: 'now', overflow: 'latest', autoAck: true })) {
    if (item.type === 'chunk') yield JSON.parse(new TextDecoder().decode(item.bytes)) as Snapshot;
  }
}

/** The first snapshot that a check likes. */
async function first<Snapshot>(
  client: Client,
  path: string,
  check: (snapshot: Snapshot) => boolean,
): Promise<Snapshot> {
  for await (const snapshot of snapshots<Snapshot>(client, path)) if (check(snapshot)) return snapshot;
  throw new Error(`${path} ended`);
}

test('an overview says where chunks wait, for whom and why', async () => {
  const { gateway } = await startBoth();
  const client = open(gateway.adminUrl);
  await rawChat(gateway.url, 'sim:tps=0,ttft=0,tokens=100000000,batch=100', { reads: false });
  const response = await postChat(gateway.url, 'sim:tps=20,ttft=0,tokens=100000', {
    headers: { 'user-agent': 'tester/1.2 (secret)', authorization: 'Bearer secret-key' },
  });
  const reading = response.body?.getReader();
  onTestFinished(() => reading?.cancel());
  await reading?.read();
  const { openStreams, streams, totals } = await first<Overview>(
    client,
    '/streams/overview',
    (overview) => overview.streams.length === 2 && overview.totals.streams.paused === 1,
  );
  expect(openStreams).toBe(2);
  const [stalled, live] = streams as [StreamRow, StreamRow];
  expect(stalled).toMatchObject({ condition: 'paused', stallCause: 'link', provider: 'upstream' });
  expect(stalled.readers).toMatchObject([
    { number: 1, via: 'http', policy: 'coalesce', waitsFor: 'link', creditBytes: null },
  ]);
  expect(stalled.readers[0]?.lagBytes).toBeGreaterThan(10_000);
  expect(stalled.readers[0]?.lagBytes).toBeLessThanOrEqual(stalled.readers[0]?.maxLagBytes ?? 0);
  expect(totals).toMatchObject({ laggingReaders: 1, maxLagBytes: stalled.readers[0]?.lagBytes });
  expect(live).toMatchObject({
    condition: 'streaming',
    client: {
      address: '127.0.0.1',
      agent: 'tester/1.2',
      caller: expect.stringMatching(/^[\da-f]{8}$/) as string,
    },
  });
  expect(JSON.stringify(streams)).not.toContain('secret');
  await eventually(async () => {
    const history = (await (await fetch(`${gateway.adminUrl}/history`)).json()) as Totals[];
    return (history.at(-1)?.waitingBytes ?? 0) > 10_000;
  }, 'the next sample');
});

test('a stream’s own page tells its story, and ends with it', async () => {
  const env = { SPILLWAY_API_KEYS: 'clinic/web=secret-key' };
  const { gateway } = await startBoth(['--retain-ms', '1500'], { env });
  const client = open(gateway.adminUrl);
  const headers = { authorization: 'Bearer secret-key' };
  const answered = postChat(gateway.url, 'sim:tps=100,ttft=0,tokens=50', { headers });
  const { streams } = await first<Overview>(
    client,
    '/streams/overview',
    (overview) => overview.openStreams === 1,
  );
  const details: StreamDetail[] = [];
  // Read to its end, which comes when the gateway has forgotten the stream.
  for await (const detail of snapshots<StreamDetail>(client, `/streams/${streams[0]?.id}`))
    details.push(detail);
  await (await answered).text();
  expect(details.at(-1)?.stream.client).toMatchObject({ caller: 'clinic/web', tenant: 'clinic' });
  expect(JSON.stringify(details)).not.toContain('secret-key');
  const story = details.at(-1)?.events.map(({ detail, reader, type }) => `${type} ${reader ?? ''} ${detail}`);
  expect(story).toEqual([
    'opened  ',
    'reader_joined 1 http, coalesce',
    'responded  200',
    'first_token  ',
    'ended  completed',
    'reader_left 1 delivered',
  ]);
  await expect(client.read('/streams/00000000-0000-4000-8000-000000000000').response).rejects.toMatchObject({
    code: 'not_found',
  });
});

test('taps are in the overview, the history and their streams, and none costs nothing', async () => {
  const { gateway: plain } = await startBoth();
  const without = await first<Overview>(open(plain.adminUrl), '/streams/overview', () => true);
  expect(without).toMatchObject({ taps: [], totals: { taps: [] } });

  const folder = temporaryFolder();
  const log = `${folder}/audit.db`;
  const { gateway } = await startBoth([
    '--tap',
    `name=audit,to=sqlite:${log},gate=true,deadlineMs=60s`,
    '--tap',
    `name=usage,to=file:${folder}/usage.jsonl,content=usage,spill=${folder}/spill`,
  ]);
  const client = open(gateway.adminUrl);
  const overview = (check: (snapshot: Overview) => boolean): Promise<Overview> =>
    first<Overview>(client, '/streams/overview', check);
  await rawChat(gateway.url, 'sim:tps=100,ttft=0,tokens=100000,size=300');
  const { streams, taps } = await overview((shown) => (shown.taps[0]?.records ?? 0) > 1);
  expect(taps).toMatchObject([
    {
      name: 'audit',
      to: `sqlite:${log}`,
      isUp: true,
      gate: true,
      overflow: 'coalesce',
      durability: 'fsync',
      head: { writer: 1 },
      spill: null,
    },
    { name: 'usage', content: 'usage', gate: false, head: null, spill: { records: 0, isEngineUp: true } },
  ]);
  const detail = (check: (snapshot: StreamDetail) => boolean): Promise<StreamDetail> =>
    first<StreamDetail>(client, `/streams/${streams[0]?.id}`, check);
  const kept = await detail((shown) => (shown.taps[0]?.keptOffset ?? 0) > 1);
  expect(kept.taps).toMatchObject([
    { name: 'audit', gates: true, holdsModel: false },
    // It keeps no chunk, and so no offset.
    { name: 'usage', gates: false, keptOffset: null, holdsReaders: false },
  ]);

  const heldSinceMs = Date.now();
  holdLog(log);
  const held = await detail(({ stream: { readers } }) => (readers[0]?.lagMs ?? 0) > 1000);
  const [lane] = held.taps;
  expect(lane).toMatchObject({ holdsReaders: true });
  expect(lane?.keptOffset).toBeLessThan(lane?.nextOffset ?? 0);
  expect(lane?.lagBytes).toBeLessThanOrEqual(lane?.maxLagBytes ?? 0);
  const stalled = await detail(({ stream: { stallCause } }) => stallCause === 'tap');
  expect(stalled.taps).toMatchObject([{ holdsModel: true }, { holdsModel: false }]);
  const down = await overview((shown) => shown.taps.some(({ isUp }) => !isUp));
  expect(down.taps[0]?.sinceMs).toBeGreaterThan(heldSinceMs);
  expect(down.taps[0]?.lag.ms).toBeGreaterThan(1000);
  expect(down.taps[1]).toMatchObject({ isUp: true, sinceMs: taps[1]?.sinceMs });
  await eventually(async () => {
    const history = (await (await fetch(`${gateway.adminUrl}/history`)).json()) as Totals[];
    return (history.at(-1)?.taps[0]?.lagMs ?? 0) > 1000;
  }, 'the next sample');
});

test('providers: what stands before them, what became of it, and who waits', async () => {
  const env = { KEY: 'theirs' };
  const simulator = await startSimulator();
  const bounds = 'maxStreams=1,minStreams=1,maxWaiting=3,waitMs=60s,breakMs=60s';
  const gateway = await startGateway(
    [
      '--upstream',
      `name=one,url=${simulator.url}/v1,apiKeyEnv=KEY,${bounds} name=two,url=${simulator.url}/v1,apiKeyEnv=KEY`,
      '--model',
      'name=broken,targets=one/sim:status=500,fallback=two/sim name=other,targets=one/sim,fallback=two/sim',
      '--wait-timeout-ms',
      '60s',
    ],
    { env },
  );
  const client = open(gateway.adminUrl);
  for (let asked = 0; asked < 5; asked += 1) await (await postChat(gateway.url, 'broken')).text();
  const holder = await postChat(gateway.url, 'one/sim:ttft=0,tps=20,tokens=100000');
  onTestFinished(() => holder.body?.cancel());
  const leave = new AbortController();
  const waiting = [1, 2].map(() =>
    postChat(gateway.url, 'one/sim:ttft=0,tps=20,tokens=100000', { signal: leave.signal }).catch(
      () => 'left',
    ),
  );
  const snapshot = await first<ProvidersSnapshot>(client, '/streams/providers', ({ models }) =>
    models.some(({ streams }) => streams?.waiting === 2),
  );
  const [broken, full, ...others] = snapshot.models;
  expect(broken).toMatchObject({
    provider: 'one',
    api: 'openai',
    model: 'sim:status=500',
    breaker: 'open',
    why: 'upstream_invalid (status 500)',
    isPaused: false,
    streams: { taken: 0, limit: 1, min: 1, max: 1, waiting: 0, maxWaiting: 3 },
    firstToken: null,
  });
  expect(broken?.closedMs).toBeGreaterThan(30_000);
  expect(full).toMatchObject({
    model: 'sim:ttft=0,tps=20,tokens=100000',
    breaker: 'closed',
    closedMs: 0,
    streams: { taken: 1, waiting: 2 },
  });
  expect(others.map(({ model, provider }) => `${provider}/${model}`)).toEqual(['two/sim']);
  expect(snapshot.allModels).toBe(3);
  expect(snapshot.names.map(({ name, targets }) => [name, targets.map(({ weight }) => weight)])).toEqual([
    ['broken', [1, 0]],
    ['other', [1, 0]],
  ]);
  expect(snapshot.providers).toEqual([{ name: 'one', refused: 0, fellBack: 5 }]);
  expect(snapshot.events).toMatchObject([{ provider: 'one', model: 'sim:status=500', state: 'open' }]);
  // Each stream knows its place among those that wait.
  const {
    allBroken,
    broken: notAsked,
    streams,
  } = await first<Overview>(client, '/streams/overview', (overview) => overview.streams.length === 3);
  // The overview has those that are not asked, too.
  expect([allBroken, notAsked]).toMatchObject([1, [{ provider: 'one', model: 'sim:status=500' }]]);
  expect(notAsked[0]?.closedMs).toBeGreaterThan(30_000);
  expect(new Set(streams.map(({ waitPosition }) => waitPosition))).toEqual(new Set([1, 2, null]));
  leave.abort();
  await Promise.all(waiting);
});

test('a console that sleeps costs nothing: no snapshot is made that nobody takes', async () => {
  const gateway = await startGateway();
  const client = open(gateway.adminUrl);
  const reader = client.read('/streams/overview', { from: 'now', overflow: 'latest', windowBytes: 1024 });
  const chunk = async (): Promise<StreamItem> => {
    const { value } = await reader.next();
    if (value === undefined) throw new Error('the overview ended');
    return value;
  };
  const before = await chunk();
  // Nothing is acknowledged, and the window is full: the next snapshot waits in the gateway, and no more are made.
  await sleep(4000);
  reader.ack(before.to);
  const after = await chunk();
  // Offsets count what was made.
  expect(after).toMatchObject({ type: 'chunk', from: before.to, to: before.to + 1 });
});

test('a watcher whose connection is lost is ended, and another comes', async () => {
  const gateway = await startGateway(['--detach-grace-ms', '500']);
  for (const overflow of ['latest', 'block'] as const) {
    const client = openClient({ url: gateway.adminUrl });
    const reader = client.read('/streams/overview', { from: 'now', overflow });
    await reader.next();
    reader.cancel();
    await client.close();
    expect(await first<Overview>(open(gateway.adminUrl), '/streams/overview', () => true)).toBeDefined();
  }
});

test('the playground: readers with policies of their own, and a plain pipe beside them', async () => {
  const gateway = await startGateway();
  const about = (await (await fetch(`${gateway.adminUrl}/about`)).json()) as object;
  expect(about).toMatchObject({ isSimulated: true, gatewayUrl: gateway.url, needsKey: false });
  const client = open(gateway.adminUrl);
  const model = 'simulated/sim:tps=0,ttft=0,tokens=300';
  const opener = client.request('/v1/chat/completions', { body: chatBody(model), autoAck: true });
  const { url } = await opener.response;
  const options = { from: 'start', maxBytes: 1024, windowBytes: 1024 } as const;
  const lossy = client.read(url, { ...options, overflow: 'drop-oldest', merges: false, autoAck: true });
  const blocking = client.read(url, { ...options, overflow: 'block', autoAck: true });
  const bytes = async (items: AsyncIterable<StreamItem>): Promise<{ kept: number; lost: number }> => {
    const sum = { kept: 0, lost: 0 };
    for await (const item of items) {
      if (item.type === 'chunk') sum.kept += item.bytes.length;
      else sum.lost += item.to - item.from;
    }
    return sum;
  };
  const [all, some, blocked] = await Promise.all([bytes(opener), bytes(lossy), bytes(blocking)]);
  expect(blocked).toMatchObject({ lost: 0 });
  expect(all.lost).toBe(0);
  expect(some.kept).toBeLessThanOrEqual(blocked.kept);

  const piped = await fetch(`${gateway.adminUrl}/playground/pipe?model=sim:tps=0,ttft=0,tokens=300`, {
    method: 'POST',
  });
  const id = piped.headers.get('x-pipe') ?? '';
  const text = await piped.text();
  expect(text).toContain('[DONE]');
  await eventually(async () => {
    const pipe = (await (await fetch(`${gateway.adminUrl}/playground/pipe/${id}`)).json()) as object;
    return 'isEnded' in pipe && pipe.isEnded === true;
  }, 'the pipe to end');
});

test('what the admin listener does not have has a code, too', async () => {
  const { adminUrl } = await startGateway();
  const answer = await fetch(`${adminUrl}/metric`);
  expect([answer.status, await answer.json()]).toMatchObject([
    404,
    {
      error: {
        code: 'not_found',
        message: 'The admin listener has no GET /metric: the console is at /, the metrics are at /metrics.',
      },
    },
  ]);
});

test('with providers of its own there is no playground', async () => {
  const { gateway } = await startBoth();
  expect((await fetch(`${gateway.adminUrl}/playground/pipe?model=sim`, { method: 'POST' })).status).toBe(404);
  const reader = open(gateway.adminUrl).request('/v1/chat/completions', { body: chatBody('sim') });
  expect(await reader.response).toMatchObject({ status: 404 });
});

test('a page of another origin learns nothing', async () => {
  const gateway = await startGateway();
  const headers = { origin: 'https://evil.example' };
  for (const path of ['/', '/about', '/history', '/metrics']) {
    expect((await fetch(gateway.adminUrl + path, { headers })).status, path).toBe(403);
  }
});

test('the page is light on its way, and the same without a coding', async () => {
  const { adminUrl } = await startGateway();
  const get = async (
    path: string,
    codings: string,
  ): Promise<{ coding: string | null; body: Buffer; wire: number }> => {
    const [answer] = (await once(
      request(adminUrl + path, { headers: { 'accept-encoding': codings } }).end(),
      'response',
    )) as [IncomingMessage];
    const body = Buffer.concat(await answer.toArray());
    const coding = answer.headers['content-encoding'] ?? null;
    return { coding, body: coding === 'gzip' ? gunzipSync(body) : body, wire: body.length };
  };
  const { body: html } = await get('/', 'identity');
  const assets = [...html.toString().matchAll(/(?:src|href)="\.\/(assets\/[^"]+)"/g)].map(
    ([, path = '']) => `/${path}`,
  );
  expect(assets.length).toBeGreaterThan(1);
  let bytes = 0;
  for (const path of ['/', ...assets]) {
    const packed = await get(path, 'br, gzip;q=0.8');
    const plain = await get(path, 'gzip;q=0, br');
    expect([packed.coding, plain.coding], path).toEqual(['gzip', null]);
    expect(packed.body.equals(plain.body), path).toBe(true);
    bytes += packed.wire;
  }
  expect(bytes).toBeLessThan(90_000);
});
