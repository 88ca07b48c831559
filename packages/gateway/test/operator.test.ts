import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import type { EndedPage, Overview, StreamDetail } from '@spillway/server/console/snapshot';
import { within } from '../../core/test/support/within.ts';
import { startNetwork } from '../../client/test/support/network.ts';
import { openClient } from '../../client/src/index.ts';
import { eventually, type RunningGateway, startBoth, startGateway } from './support/processes.ts';
import { chatBody, postChat } from './support/requests.ts';

const json = { 'content-type': 'application/json' };
const endless = 'sim:tps=50,ttft=0,tokens=100000';

async function read<T>(gateway: RunningGateway, path: string, headers = {}): Promise<T> {
  const response = await fetch(gateway.adminUrl + path, { headers });
  expect(response.status, path).toBe(200);
  return (await response.json()) as T;
}

function act(gateway: RunningGateway, path: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(gateway.adminUrl + path, { method: 'POST', headers: { ...json, ...headers } });
}

/** A provider that refuses everything in one way. */
async function refusing(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  onTestFinished(() => server.closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

/** Waits until the gateway has logged something. */
async function logs(gateway: RunningGateway, pattern: RegExp): Promise<void> {
  await eventually(() => pattern.test(gateway.stdout() + gateway.stderr()), `a line like ${pattern.source}`);
}

/** Snapshots of the gateway, one a second. */
async function* overviews(gateway: RunningGateway): AsyncGenerator<Overview> {
  const client = openClient({ url: gateway.adminUrl });
  onTestFinished(() => client.close());
  const options = { from: 'now', overflow: 'latest', autoAck: true } as const;
  for await (const item of client.read('/streams/overview', options)) {
    if (item.type === 'chunk') yield JSON.parse(new TextDecoder().decode(item.bytes)) as Overview;
  }
}

async function overview(gateway: RunningGateway): Promise<Overview> {
  for await (const now of overviews(gateway)) return now;
  throw new Error('the overview ended');
}

test('ended streams are found by how they ended, also when they can be read no more', async () => {
  const { gateway } = await startBoth(['--retain-ms', '1000']);
  await (await postChat(gateway.url, 'sim:tps=0,ttft=0,tokens=5')).text();
  for (let at = 0; at < 3; at += 1) {
    await (await postChat(gateway.url, 'sim:tps=0,ttft=0,tokens=20,cut=1000')).text().catch(() => '');
  }
  const [newest] = (await read<EndedPage>(gateway, '/ended')).streams;
  const page = await read<EndedPage>(gateway, '/ended?state=failed&limit=2');
  expect(page).toMatchObject({
    found: 3,
    streams: [
      { condition: 'failed', code: 'upstream_cut', provider: 'upstream' },
      { condition: 'failed', code: 'upstream_cut' },
    ],
    counts: { state: { failed: 3, completed: 1 }, code: { upstream_cut: 3 } },
  });
  expect(page.streams[0]?.id).toBe(newest?.id);
  const rest = await read<EndedPage>(gateway, `/ended?state=failed&limit=2&before=${page.next}`);
  expect(rest).toMatchObject({ found: 3, next: null });
  expect(rest.streams).toHaveLength(1);
  expect(page.streams.map(({ id }) => id)).not.toContain(rest.streams[0]?.id);
  // Their history goes, and their story stays.
  const retained = async (): Promise<string> =>
    /spillway_retained_bytes(?:\{.*\})? (\d+)/.exec(
      await (await fetch(`${gateway.adminUrl}/metrics`)).text(),
    )?.[1] ?? '';
  await eventually(async () => (await retained()) === '0', 'the history to go');
  expect(await read<EndedPage>(gateway, '/ended?state=failed')).toMatchObject({ found: 3 });
  const story = await read<StreamDetail>(gateway, `/ended/${newest?.id}`);
  expect(story.events.map(({ type }) => type)).toEqual([
    'opened',
    'reader_joined',
    'responded',
    'first_token',
    'ended',
    'reader_left',
  ]);
  expect(story.endedReaders).toMatchObject([{ number: 1, via: 'http', error: { code: 'upstream_cut' } }]);
  expect((await fetch(`${gateway.adminUrl}/ended/none`)).status).toBe(404);
});

test('a parameter that the admin listener does not know is refused with what it knows', async () => {
  const { gateway } = await startBoth();
  const refused: readonly (readonly [string, string])[] = [
    ['/ended?state=zzz', 'state: expected completed, failed, cancelled, got "zzz".'],
    ['/ended?state=failed&state=cancelled', 'state: expected it once, got it 2 times.'],
    ['/ended?code=none', 'code: expected a code of an error, or nothing, got "none".'],
    ['/ended?before=yesterday', 'before: expected next of another part, got "yesterday".'],
    ['/ended?limit=0', 'limit: expected a whole number from 1 to 200, got "0".'],
    ['/ended?limit=2.5', 'limit: expected a whole number from 1 to 200, got "2.5".'],
    ['/ended?limit=all', 'limit: expected a whole number from 1 to 200, got "all".'],
    [
      '/ended?stat=failed',
      'expected no parameters but state, provider, model, key, code, before, limit, got "stat".',
    ],
    ['/ended/none?state=failed', 'expected no parameters, got "state".'],
    ['/history?limit=1', 'expected no parameters, got "limit".'],
    ['/gateway?node=1', 'expected no parameters, got "node".'],
  ];
  for (const [path, message] of refused) {
    const response = await fetch(gateway.adminUrl + path);
    expect(response.status, path).toBe(400);
    expect(await response.json(), path).toMatchObject({ error: { message } });
  }
  const forFiveMinutes = await act(gateway, '/drain?for=5m');
  expect(forFiveMinutes.status).toBe(400);
  expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
  const taken = await read<EndedPage>(
    gateway,
    '/ended?state=completed&code=&provider=x&model=y&key=&limit=200',
  );
  expect(taken.found).toBe(0);
});

test('a refusal is remembered with the provider’s names, and with its words only where they cannot quote the request', async () => {
  const prompt = 'a prompt that nobody else may see';
  let status = 429;
  const provider = await refusing((request, response) => {
    request.resume();
    const error = {
      code: 'too_many',
      type: 'requests',
      message: `Slow down sk-0123456789012345678901234567. ${'x '.repeat(300)}`,
    };
    if (status === 400) error.message = `messages[0] is wrong: ${prompt}`;
    response.writeHead(status, json).end(JSON.stringify({ error }));
  });
  const gateway = await startGateway(['--upstream', provider]);
  const refused = async (): Promise<StreamDetail> => {
    await (
      await fetch(`${gateway.url}/v1/chat/completions`, {
        method: 'POST',
        headers: json,
        body: chatBody('m'),
      })
    ).text();
    const { streams } = await read<EndedPage>(gateway, '/ended?limit=1');
    return await read<StreamDetail>(gateway, `/ended/${streams[0]?.id}`);
  };
  const { refusal, stream } = await refused();
  expect(stream).toMatchObject({ condition: 'failed', code: 'upstream_invalid' });
  expect(refusal).toMatchObject({ status: 429, code: 'too_many', type: 'requests' });
  expect(refusal?.message).toMatch(/^Slow down sk-012… x /);
  expect(refusal?.message.length).toBeLessThanOrEqual(200);
  status = 400;
  const quoted = await refused();
  expect(quoted.refusal).toEqual({ status: 400, code: 'too_many', type: 'requests', message: '' });
  expect(JSON.stringify(quoted)).not.toContain('prompt');
});

test('an operator cancels a stream, and detaches one reader of another', async () => {
  const { gateway } = await startBoth([], { env: { SPILLWAY_API_KEYS: 'ops-test=client-key' } });
  const headers = { authorization: 'Bearer client-key' };
  const doomed = await postChat(gateway.url, endless, { headers });
  const client = openClient({ url: gateway.url, headers });
  onTestFinished(() => client.close());
  const opener = client.request('/v1/chat/completions', { body: chatBody(endless), autoAck: true });
  const { url } = await opener.response;
  const other = client.read(url, { autoAck: true });
  await other.next();
  const { streams } = await overview(gateway);
  expect(streams).toHaveLength(2);
  const single = streams.find(({ readers }) => readers.length === 1)?.id;
  const shared = streams.find(({ readers }) => readers.length === 2)?.id;

  expect((await act(gateway, `/streams/${single}/cancel`)).status).toBe(200);
  expect(await within(doomed.text(), 'the end of the cancelled stream')).toContain(
    'An operator of the gateway',
  );
  expect((await act(gateway, `/streams/${single}/cancel`)).status).toBe(404);

  expect((await act(gateway, `/streams/${shared}/readers/2/detach`)).status).toBe(200);
  const rest = async (): Promise<void> => {
    while ((await other.next()).done !== true);
  };
  await expect(within(rest(), 'the end of the detached reader')).rejects.toMatchObject({ code: 'cancelled' });
  // The stream goes on for the one that opened it.
  expect((await within(opener.next(), 'more of the stream')).done).toBe(false);
  expect((await act(gateway, `/streams/${shared}/readers/2/detach`)).status).toBe(404);
  const story = await read<StreamDetail>(gateway, `/ended/${single}`);
  expect(story.stream).toMatchObject({ condition: 'cancelled', code: 'cancelled' });
  await logs(gateway, /"action":"cancel_stream","stream":"[\w-]+".*"address":"127.0.0.1"/);
  await logs(gateway, /"action":"detach_reader".*"reader":2/);
});

test('a gateway that is drained takes no new streams and lets those that run finish, until it takes some again', async () => {
  const { gateway } = await startBoth();
  const running = await postChat(gateway.url, 'sim:tps=20,ttft=0,tokens=40');
  const client = openClient({ url: gateway.url });
  onTestFinished(() => client.close());
  const { url } = await client.request('/v1/chat/completions', { body: chatBody(endless), autoAck: true })
    .response;
  expect((await act(gateway, '/drain')).status).toBe(200);
  expect((await act(gateway, '/drain')).status).toBe(200);
  expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(503);
  const refused = await postChat(gateway.url, endless);
  expect([refused.status, await refused.text()]).toEqual([
    503,
    expect.stringContaining('takes no new streams'),
  ]);
  // Whoever reads a stream that runs may still come, also by a new WebSocket.
  const late = openClient({ url: gateway.url });
  onTestFinished(() => late.close());
  expect((await within(late.read(url, { autoAck: true }).next(), 'a chunk')).done).toBe(false);
  expect((await overview(gateway)).totals.intakeClosedAtMs).toBeGreaterThan(1e12);
  expect((await running.text()).trimEnd().endsWith('data: [DONE]')).toBe(true);
  expect((await act(gateway, '/drain/end')).status).toBe(200);
  expect((await act(gateway, '/drain/end')).status).toBe(200);
  expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
  expect((await postChat(gateway.url, 'sim:tps=0,ttft=0,tokens=1')).status).toBe(200);
  await logs(gateway, /"action":"drain"[^]*"action":"end_drain"/);
  // Who asks again for what is so already has done nothing.
  await (await fetch(`${gateway.adminUrl}/nothing`)).text();
  await logs(gateway, /"path":"\/nothing"/);
  expect(gateway.stderr().match(/an operator acted/g)).toHaveLength(2);
});

test('nobody but the console’s own page and programs may act', async () => {
  const { gateway } = await startBoth();
  const { host } = new URL(gateway.adminUrl);
  const attempts: readonly (readonly [string, Record<string, string>, number])[] = [
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 400],
    ['text', { 'content-type': 'text/plain;application/json' }, 400],
    ['a page of this machine', { origin: 'http://localhost:3000' }, 403],
    ['a page that is asked by Fetch Metadata', { 'sec-fetch-site': 'same-site' }, 403],
    ['an opaque origin', { origin: 'null' }, 403],
    ['a foreign page', { origin: 'https://evil.example' }, 403],
    ['its own page', { origin: `http://${host}`, 'sec-fetch-site': 'same-origin' }, 200],
    ['a program', {}, 200],
  ];
  for (const [who, headers, status] of attempts) {
    expect((await act(gateway, '/drain/end', headers)).status, who).toBe(status);
  }
  expect((await fetch(`${gateway.adminUrl}/drain`)).status).toBe(404);
  const guarded = await startGateway(['--admin-host', '0.0.0.0'], {
    env: { SPILLWAY_ADMIN_KEYS: 'anna=operator-key-of-the-test' },
  });
  const at = { ...guarded, adminUrl: guarded.adminUrl.replace('0.0.0.0', '127.0.0.1') };
  expect((await act(at, '/drain')).status).toBe(401);
  expect((await fetch(`${at.adminUrl}/ended`)).status).toBe(401);
  expect((await act(at, '/drain', { authorization: 'Bearer operator-key-of-the-test' })).status).toBe(200);
  await logs(guarded, /"action":"drain","caller":"anna"/);
  expect(guarded.stdout() + guarded.stderr()).not.toContain('operator-key');
});

test('what clients are refused is in the figures of the console', async () => {
  const { gateway } = await startBoth(['--max-connections-per-address', '5']);
  const { hostname, port } = new URL(gateway.url);
  for (let at = 0; at < 20; at += 1) {
    const socket = connect(Number(port), hostname).on('error', () => undefined);
    onTestFinished(() => void socket.destroy());
    await once(socket, 'connect');
  }
  const refused = async (): Promise<number> => {
    const figures = Object.values((await overview(gateway)).totals.refused);
    return figures.reduce((total, count) => total + count, 0);
  };
  await eventually(async () => (await refused()) >= 10, 'those without room to be counted');
});

test('the counts of an overview are those of its rows, whatever state streams are in', async () => {
  const { gateway } = await startBoth(['--max-streams', '4']);
  const client = openClient({ url: gateway.url });
  onTestFinished(() => client.close());
  // Its program takes nothing, so that the rest waits here when the model is done.
  const body = chatBody('sim:tps=0,ttft=0,tokens=100');
  const snapshots = overviews(gateway);
  const until = async (check: (now: Overview) => boolean): Promise<Overview> => {
    for (;;) {
      const { value } = await snapshots.next();
      if (value === undefined) throw new Error('the overview ended');
      if (check(value as Overview)) return value as Overview;
    }
  };
  let opened = 1;
  const held: Promise<Response | undefined>[] = [];
  const idle = client.request('/v1/chat/completions', { body, windowBytes: 1024 });
  expect((await idle.next()).done).toBe(false);
  for (const model of [endless, endless, endless, endless, endless]) {
    const leave = new AbortController();
    onTestFinished(() => leave.abort());
    // Held, because a response that is garbage is closed.
    held.push(postChat(gateway.url, model, { signal: leave.signal }).catch(() => undefined));
    // One after the other, so that the last one is the one that waits.
    opened += 1;
    await within(
      until(({ openStreams }) => openStreams === opened),
      `${opened} streams`,
    );
  }
  const states = 'draining streaming streaming streaming streaming waiting';
  const statesOf = ({ streams }: Overview): string[] => streams.map(({ condition }) => condition).toSorted();
  const seen = await within(
    until((now) => statesOf(now).join(' ') === states),
    states,
  );
  const sum = Object.values(seen.totals.streams).reduce((total, count) => total + count, 0);
  expect([sum, seen.openStreams, held.length]).toEqual([6, 6, 5]);
  // What a reader still needs is open, and not in the list of what has ended.
  expect(await read<EndedPage>(gateway, '/ended')).toMatchObject({ found: 0 });
});

test.each([
  ['with an admin key', '0.0.0.0', { SPILLWAY_ADMIN_KEYS: 'anna=operator-key-of-the-test' }],
  ['without keys', '127.0.0.1', {}],
] as const)('snapshots go on after their connection was cut: %s', async (_how, adminHost, env) => {
  const gateway = await startGateway(['--admin-host', adminHost], { env });
  const network = await startNetwork(gateway.adminUrl.replace('0.0.0.0', '127.0.0.1'));
  const lost: string[] = [];
  const client = openClient({
    url: network.url,
    headers: { authorization: 'Bearer operator-key-of-the-test' },
    onEvent: ({ type }) => lost.push(type),
  });
  onTestFinished(() => client.close());
  const reader = client.read('/streams/overview', { from: 'now', overflow: 'latest', autoAck: true });
  const next = async (): Promise<number> => {
    for (;;) {
      const { done, value } = await within(reader.next(), 'a snapshot');
      if (done === true) throw new Error('the snapshots ended');
      if (value.type === 'chunk' && value.bytes.length > 0) {
        return (JSON.parse(new TextDecoder().decode(value.bytes)) as Overview).totals.atMs;
      }
    }
  };
  for (let cut = 0; cut < 3; cut += 1) {
    const before = await next();
    network.cut();
    // The same reader, newer snapshots.
    await eventually(async () => (await next()) > before, 'a newer snapshot');
  }
  expect(lost).toContain('disconnected');
});

test('so do those of a stream', async () => {
  const gateway = await startGateway();
  const leave = new AbortController();
  onTestFinished(() => leave.abort());
  const running = await postChat(gateway.url, endless, { signal: leave.signal });
  const id = (await overview(gateway)).streams[0]?.id;
  const network = await startNetwork(gateway.adminUrl);
  const client = openClient({ url: network.url });
  onTestFinished(() => client.close());
  const reader = client.read(`/streams/${id}`, { from: 'now', overflow: 'latest', autoAck: true });
  const tokens = async (): Promise<number> => {
    const { value } = await within(reader.next(), 'a snapshot');
    if (value?.type !== 'chunk' || value.bytes.length === 0) return 0;
    return (JSON.parse(new TextDecoder().decode(value.bytes)) as StreamDetail).stream.tokens;
  };
  const before = await tokens();
  network.cut();
  await eventually(async () => (await tokens()) > before, 'a newer snapshot');
  expect(running.status).toBe(200);
});
