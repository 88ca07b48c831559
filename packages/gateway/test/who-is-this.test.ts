import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Overview } from '@spillway/server/console/snapshot';
import { openClient } from '../../client/src/index.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { startGateway } from './support/processes.ts';
import { metric, payloads, postChat } from './support/requests.ts';
import { startRawProvider } from './support/raw-provider.ts';
import { chatRequest, RawSession } from './support/session.ts';
import { eventually } from './support/spawn.ts';

describe('the address of the listener', () => {
  test('says what this is, and where the console is if that is on this machine', async () => {
    const env = { SPILLWAY_API_KEYS: 'key-one', SPILLWAY_ADMIN_KEYS: 'key-two' };
    const gateway = await startGateway([], { env });
    const answer = await fetch(gateway.url);
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ service: 'spillway', console: gateway.adminUrl });
    expect((await fetch(gateway.url, { method: 'HEAD' })).status).toBe(200);
    const open = await startGateway(['--admin-host', '0.0.0.0'], { env });
    const text = await (await fetch(open.url)).text();
    expect(text).toContain('spillway');
    expect(text).not.toContain(new URL(open.adminUrl).port);
    for (const secret of ['key-one', 'key-two']) expect(text).not.toContain(secret);
    expect(linesOf(open, 'request refused')).toEqual([]);
  });
});

test('admin keys that are set are asked for on loopback, too, and the page is told which', async () => {
  const gateway = await startGateway([], { env: { SPILLWAY_ADMIN_KEYS: 'omega' } });
  const statusOf = async (key?: string): Promise<number> => {
    const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
    return (await fetch(`${gateway.adminUrl}/metrics`, { headers })).status;
  };
  expect([await statusOf(), await statusOf('wrong'), await statusOf('omega')]).toEqual([401, 401, 200]);
  const about = async (adminUrl: string): Promise<unknown> => (await fetch(`${adminUrl}/about`)).json();
  expect(await about(gateway.adminUrl)).toMatchObject({ needsKey: true, keyVariable: 'SPILLWAY_ADMIN_KEYS' });
  await lineWith(gateway, 'request refused', { listener: 'admin', code: 'invalid_api_key' });
  const open = await startGateway();
  expect(await about(open.adminUrl)).toMatchObject({ needsKey: false });
});

test.each([
  ['version 1', Buffer.from('PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n')],
  ['version 2', Buffer.from('0d0a0d0a000d0a515549540a2111000c', 'hex')],
])(
  'a PROXY header of %s from an address that is not trusted is refused with words that help',
  async (_v, bytes) => {
    const gateway = await startGateway();
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(gateway.url).port) });
    onTestFinished(() => void socket.destroy());
    let answer = '';
    socket.setEncoding('latin1').on('data', (text: string) => (answer += text));
    socket.on('error', () => undefined);
    socket.write(bytes);
    await eventually(() => answer.includes('trustedProxies'), 'an answer');
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('untrusted_proxy');
    const line = await lineWith(gateway, 'request refused', {
      code: 'untrusted_proxy',
      address: '127.0.0.1',
    });
    expect(line['reason']).toContain('trustedProxies');
    expect(
      await metric(gateway.adminUrl, 'spillway_refusals_total{listener="client",code="untrusted_proxy"}'),
    ).toBe(1);
  },
);

test('what a WebSocket’s connection has not taken is a figure', async () => {
  const provider = await startRawProvider((_asked, socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n');
    // One event that is larger than both kernels' buffers together. The stream does not end.
    socket.write(`data: {"choices":[{"index":0,"delta":{"content":"${'x'.repeat(30_000_000)}"}}]}\n\n`);
  });
  const gateway = await startGateway([
    '--max-event-bytes=33554432',
    '--max-event-memory-bytes=134217728',
    '--upstream',
    `${provider.url}/v1`,
  ]);
  const session = new RawSession(gateway.url);
  await eventually(() => session.of('open').length === 1, 'the session to open');
  const untaken = (name: string): Promise<number> => metric(gateway.adminUrl, `spillway_${name}`);
  expect(await untaken('session_untaken_bytes')).toBe(0);
  session.socket.pause();
  session.send({ type: 'open', windowBytes: 1_000_000 });
  session.send(chatRequest('m'));
  await eventually(async () => (await untaken('sessions_slow')) === 1, 'the session to be slow');
  const most = await untaken('session_untaken_bytes');
  expect(most).toBeGreaterThan(262_144);
  expect(await untaken('sessions_untaken_bytes')).toBeGreaterThanOrEqual(262_144);
  // The page of the stream says whose it is.
  const client = openClient({ url: gateway.adminUrl });
  onTestFinished(() => client.close());
  const snapshot = await client.read('/streams/overview', { from: 'now', autoAck: true }).next();
  const { streams } = JSON.parse(
    snapshot.value?.type === 'chunk' ? new TextDecoder().decode(snapshot.value.bytes) : '',
  ) as Overview;
  expect(streams[0]?.readers[0]?.untakenBytes).toBeGreaterThan(262_144);
  session.socket.terminate();
  await eventually(async () => (await untaken('sessions_slow')) === 0, 'the session to be gone');
  expect(await untaken('sessions_untaken_bytes')).toBe(0);
});

describe('the line of a stream', () => {
  const traceId = '0af7651916cd43dd8448eb211c80319c';

  test('has the trace of its client, also without spans', async () => {
    const gateway = await startGateway();
    const ask = async (traceparent: string): Promise<string | null> => {
      const answer = await postChat(gateway.url, 'sim:tokens=1,tps=0,ttft=0', { headers: { traceparent } });
      expect(payloads(await answer.text()).at(-1)).toBe('[DONE]');
      return answer.headers.get('x-spillway-request-id');
    };
    const known = await ask(`00-${traceId}-b7ad6b7169203331-01`);
    expect((await lineWith(gateway, 'stream ended', { request: known }))['trace']).toBe(traceId);
    for (const wrong of ['00-xyz', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`]) {
      const request = await ask(wrong);
      expect((await lineWith(gateway, 'stream ended', { request }))['trace']).toBe(undefined);
    }
    const refused = await fetch(`${gateway.url}/nothing`, {
      headers: { traceparent: `00-${traceId}-b7ad6b7169203331-00` },
    });
    await lineWith(gateway, 'request refused', {
      request: refused.headers.get('x-spillway-request-id'),
      trace: traceId,
    });
  });

  test('says how much, how long, why, and for whom', async () => {
    const gateway = await startGateway([], { env: { SPILLWAY_API_KEYS: 'clinic/web=right-key' } });
    const headers = {
      'content-type': 'application/json',
      'x-api-key': 'right-key',
      'user-agent': 'tester/1.0 (x)',
    };
    const ask = async (model: string): Promise<string | null> => {
      const body = JSON.stringify({ model, max_tokens: 9, stream: true, messages: [] });
      const answer = await fetch(`${gateway.url}/v1/messages`, { method: 'POST', headers, body });
      await answer.text();
      return answer.headers.get('x-spillway-request-id');
    };
    const whole = await lineWith(gateway, 'stream ended', {
      request: await ask('sim:tokens=20,tps=0,ttft=0'),
    });
    expect(whole).toMatchObject({
      address: '127.0.0.1',
      agent: 'tester/1.0',
      caller: 'clinic/web',
      tenant: 'clinic',
      provider: 'simulated',
      api: 'anthropic',
      format: 'anthropic-messages',
      model: 'sim:tokens=20,tps=0,ttft=0',
      state: 'completed',
      status: 200,
      outputTokens: 20,
      readers: 1,
    });
    for (const name of ['bytes', 'events', 'ttftMs', 'durationMs']) {
      expect(whole[name], name).toEqual(expect.any(Number));
    }
    const cut = await lineWith(gateway, 'stream ended', {
      request: await ask('sim:tokens=20,cut=900,tps=0,ttft=0'),
    });
    expect(cut).toMatchObject({ state: 'failed', code: 'upstream_cut' });
    expect(cut['reason']).toEqual(expect.any(String));
  });
});
