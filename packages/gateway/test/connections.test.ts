import { describe, expect, test } from 'vitest';
import { eventually, gatewayForAll, type RunningGateway, startGateway } from './support/processes.ts';
import { startWithFewConnections } from './support/few-connections.ts';
import {
  descriptorsBackTo,
  descriptorsOf,
  openRaw,
  type RawConnection,
  requestText,
} from './support/raw-connection.ts';
import { metric } from './support/requests.ts';
import { openSession, RawSession } from './support/session.ts';

const key = 'authorization: Bearer alpha';
const env = { SPILLWAY_API_KEYS: 'alpha' };

const upgrade = [
  'connection: upgrade',
  'upgrade: websocket',
  'sec-websocket-version: 13',
  'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==',
];
const subprotocol = 'sec-websocket-protocol: spillway.v1';
const behind = 'x'.repeat(2000);

async function isAlive(url: string): Promise<boolean> {
  return (await fetch(`${url}/health/live`)).ok;
}

/** Of the client's listener, those that were closed for that cause. */
function closed(gateway: RunningGateway, cause: string): Promise<number> {
  return metric(gateway.adminUrl, `spillway_connections_closed_total{listener="client",cause="${cause}"}`);
}

function open(gateway: RunningGateway, state: string): Promise<number> {
  return metric(gateway.adminUrl, `spillway_connections{listener="client",state="${state}"}`);
}

/** What comes over a bare connection, and how its answer begins. */
const hostile: readonly (readonly [name: string, text: string, answer: string])[] = [
  [
    'an upgrade of a foreign page',
    requestText('/streams', [...upgrade, 'origin: https://evil.example', subprotocol]) + behind,
    '403',
  ],
  [
    'an upgrade with a wrong subprotocol',
    requestText('/streams', [...upgrade, 'sec-websocket-protocol: other']) + behind,
    '400',
  ],
  ['an upgrade at a wrong path', requestText('/elsewhere', [...upgrade, subprotocol]) + behind, '404'],
  [
    'an upgrade without a key',
    requestText('/streams', [...upgrade.slice(0, 3), subprotocol]) + behind,
    '400',
  ],
  [
    'an upgrade of an old version',
    requestText('/streams', [...upgrade.slice(0, 2), 'sec-websocket-version: 5', subprotocol]) + behind,
    '400',
  ],
  [
    'an upgrade with a body',
    requestText('/streams', [...upgrade, subprotocol, 'content-length: 100000'], behind),
    '400',
  ],
  ['no HTTP', `SSH-2.0-OpenSSH\r\n${behind}`, '400'],
  ['a head that is too large', `GET / HTTP/1.1\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`, '431'],
  ['garbage behind a request', requestText('/streams') + behind, ''],
];

describe('who neither reads nor closes keeps no file descriptor', () => {
  const shared = gatewayForAll();

  test.each(hostile)('%s, at both listeners', async (_name, text) => {
    const gateway = shared();
    const { pid } = gateway.process;
    for (const url of [gateway.url, gateway.adminUrl]) {
      const before = descriptorsOf(pid);
      for (let count = 0; count < 20; count += 1) await openRaw(url, { text, reads: false });
      await descriptorsBackTo(pid, before);
    }
    expect(await isAlive(gateway.url)).toBe(true);
  });

  test.each(hostile.filter(([, , status]) => status !== ''))(
    '%s: gets its one answer, whatever comes behind it',
    async (_name, text, status) => {
      const gateway = shared();
      const client = await openRaw(gateway.url, { text });
      await eventually(() => client.received() !== '', 'an answer');
      await eventually(client.isOver, 'the other side to say that this was all');
      for (let count = 0; count < 3; count += 1) client.socket.write(behind);
      client.socket.end();
      await new Promise((resolve) => client.socket.once('close', resolve));
      expect(client.received().split('HTTP/1.1 ')).toHaveLength(2);
      expect(client.received()).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*"error"`));
    },
  );

  test('what is on its way to a closed connection is read, or it would be reset', async () => {
    const gateway = await startGateway();
    const { pid } = gateway.process;
    const before = descriptorsOf(pid);
    const text = requestText('/elsewhere', [...upgrade, subprotocol]);
    // A busy machine may be late with it once.
    await eventually(async () => {
      const cutBefore = await closed(gateway, 'never_closed');
      const client = await openRaw(gateway.url, { text });
      await eventually(client.isOver, 'the other side to say that this was all');
      // More than what waits in a process without being read.
      for (let count = 0; count < 200; count += 1) client.socket.write(behind);
      client.socket.end();
      await descriptorsBackTo(pid, before + 1);
      return (await closed(gateway, 'never_closed')) === cutBefore;
    }, 'a connection to close by itself');
  });

  test('a request that does not arrive in time, a head and a body', async () => {
    const gateway = await startGateway(['--request-timeout-ms', '500']);
    const { pid } = gateway.process;
    const before = descriptorsOf(pid);
    const texts = ['GET /v1/mod', requestText('/v1/chat/completions', ['content-length: 1000'], '{')];
    for (const text of texts) {
      const reader = await openRaw(gateway.url, { text });
      for (let count = 0; count < 10; count += 1) await openRaw(gateway.url, { text, reads: false });
      await eventually(reader.isOver, 'the answer to be over');
      expect(reader.received()).toContain('408 Request Timeout');
      expect(reader.received().split('HTTP/1.1 ')).toHaveLength(2);
      reader.socket.destroy();
      await descriptorsBackTo(pid, before);
    }
    // The heads; the rest of a body is thrown away for 2 s.
    expect(await closed(gateway, 'never_closed')).toBeGreaterThanOrEqual(10);
  });

  test('CONNECT, and a request that asks to be closed', async () => {
    const gateway = await startGateway();
    const { pid } = gateway.process;
    const before = descriptorsOf(pid);
    for (const text of [
      `CONNECT localhost:1 HTTP/1.1\r\nhost: localhost\r\n\r\n${behind}`,
      requestText('/health/live', ['connection: close']) + behind,
      requestText('/v1/models', ['connection: close']),
    ]) {
      for (let count = 0; count < 10; count += 1) await openRaw(gateway.url, { text, reads: false });
      await descriptorsBackTo(pid, before);
    }
  });

  test('answers that nobody reads, however many are asked for', async () => {
    const gateway = await startGateway(['--stall-timeout-ms', '500']);
    const { pid } = gateway.process;
    const before = descriptorsOf(pid);
    const clients = await Promise.all(
      Array.from({ length: 5 }, () => openRaw(gateway.adminUrl, { reads: false })),
    );
    const admin = 'spillway_connections{listener="admin"';
    const asked = `${admin},state="transferring"}`;
    await eventually(async () => (await metric(gateway.adminUrl, admin)) > clients.length, 'all to be taken');
    // As much as the kernel would take for a client, and more; and never more requests than may wait.
    for (let batch = 0; batch < 12; batch += 1) {
      for (const { socket } of clients) socket.write(requestText('/metrics').repeat(100));
      await eventually(
        async () => (await metric(gateway.adminUrl, asked)) <= 1,
        'answers to be taken, or their connections to be closed',
      );
    }
    const unread = 'spillway_connections_closed_total{listener="admin",cause="answer_unread"}';
    // One of them may still be the one that is transferring.
    await eventually(async () => (await metric(gateway.adminUrl, unread)) === 5, 'all to be closed unread');
    // Whoever asks for metrics keeps a connection or two.
    expect(descriptorsOf(pid)).toBeLessThan(before + 5);
  });

  test('a WebSocket whose client breaks the rules, or half-closes', async () => {
    const gateway = await startGateway();
    const { pid } = gateway.process;
    const before = descriptorsOf(pid);
    const good = requestText('/streams', [...upgrade, subprotocol]);
    // Not masked; a close that is answered; and nothing, behind which its client says no more.
    for (const frame of [
      Buffer.from([0x81, 1, 0x41]),
      Buffer.from([0x88, 0x80, 0, 0, 0, 0]),
      Buffer.alloc(0),
    ]) {
      for (let count = 0; count < 10; count += 1) {
        const { socket } = await openRaw(gateway.url, {
          text: Buffer.concat([Buffer.from(good), frame]),
          reads: false,
        });
        if (frame.length === 0) socket.end();
      }
      await descriptorsBackTo(pid, before);
    }
  });
});

describe('connections are bounded', () => {
  const total = 20;
  const startSmall = (keys: Record<string, string> = env): Promise<RunningGateway> =>
    startWithFewConnections(8, 2, keys);

  test.each([
    ['silent', ''],
    ['with half of a head', 'GET /v1/models HTTP/1.1\r\nhost: loc'],
    ['with half of a body', requestText('/health/live', ['content-length: 1000'], '{')],
    ['refused and kept open', requestText('/v1/models')],
    ['on a WebSocket', requestText('/streams', [...upgrade, subprotocol])],
  ])('strangers keep nobody out, whatever they do: %s', async (_what, text) => {
    const gateway = await startSmall();
    const { pid } = gateway.process;
    const before = descriptorsOf(pid);
    const strangers: RawConnection[] = [];
    for (let count = 0; count < 2 * total; count += 1) strangers.push(await openRaw(gateway.url, { text }));
    // From their address, and from another one.
    for (const localAddress of ['127.0.0.1', '127.0.0.2']) {
      const client = await openRaw(gateway.url, { localAddress, text: requestText('/v1/models', [key]) });
      await eventually(() => client.received().includes('200 OK'), 'the answer');
    }
    // No more than half of all are of one address, but for a moment.
    await eventually(
      () => strangers.filter(({ isOver }) => isOver()).length >= 1.5 * total,
      'most strangers to be closed',
    );
    expect(descriptorsOf(pid) - before).toBeLessThanOrEqual(total);
    const gone = (await closed(gateway, 'address_bound')) + (await closed(gateway, 'stranger_displaced'));
    expect(gone).toBeGreaterThanOrEqual(1.5 * total);
    expect(await closed(gateway, 'address_bound')).toBeGreaterThan(0);
    expect(await closed(gateway, 'refused')).toBe(0);
  });

  test('many of one address that ask at once are all answered', async () => {
    const gateway = await startGateway(['--max-connections-per-address', '4']);
    const asked = await Promise.all(
      Array.from({ length: 200 }, () => openRaw(gateway.url, { text: requestText('/health/live') })),
    );
    await eventually(() => asked.every(({ received }) => received().includes('200 OK')), 'all answers');
    expect(await closed(gateway, 'address_bound')).toBe(0);
  });

  test('some requests may be sent before the first is answered, and not thousands', async () => {
    const gateway = await startGateway([], { env });
    const ask = requestText('/v1/models', [key]);
    const some = await openRaw(gateway.url, { text: ask.repeat(30) });
    await eventually(() => some.received().split('200 OK').length === 31, 'all answers');
    const many = await openRaw(gateway.url, { text: ask.repeat(5000) });
    await eventually(many.isOver, 'the connection to be closed');
    expect(await closed(gateway, 'pipelined')).toBe(1);
    expect(some.isOver()).toBe(false);
  });

  test('those of many addresses too, and then the one that is idle for longest goes first', async () => {
    const gateway = await startSmall();
    const first = await openRaw(gateway.url, { localAddress: '127.0.1.1' });
    for (let count = 2; count <= total; count += 1) {
      await openRaw(gateway.url, { localAddress: `127.0.1.${count}` });
    }
    await eventually(async () => (await open(gateway, 'stranger')) === total, 'all of them');
    const client = await openRaw(gateway.url, { text: requestText('/v1/models', [key]) });
    await eventually(() => client.received().includes('200 OK'), 'the answer');
    await eventually(first.isOver, 'the first to be closed');
    expect(await closed(gateway, 'stranger_displaced')).toBe(1);
    expect(await open(gateway, 'idle')).toBe(1);
  });

  test('who has shown a key goes after strangers, but for a few that just came, and who is being answered never', async () => {
    const gateway = await startSmall();
    const body = JSON.stringify({ model: 'sim:stall=1', stream: true, messages: [] });
    const stream = requestText(
      '/v1/chat/completions',
      [key, 'content-type: application/json', `content-length: ${body.length}`],
      body,
    );
    const streaming = [];
    // One place is left, for the list of models.
    for (let count = 0; count < 7; count += 1) streaming.push(await openRaw(gateway.url, { text: stream }));
    const idle = [];
    for (let count = 7; count < total; count += 1) {
      const client = await openRaw(gateway.url, { text: requestText('/v1/models', [key]) });
      await eventually(async () => (await open(gateway, 'idle')) > idle.length, 'it to be idle');
      idle.push(client);
    }
    await eventually(async () => (await open(gateway, 'in_flight')) === 7, 'those who are answered');
    // More than an eighth of all displace each other.
    for (let count = 0; count < 7; count += 1) await openRaw(gateway.url, { localAddress: '127.0.0.2' });
    await eventually(async () => (await closed(gateway, 'stranger_displaced')) === 4, 'strangers to go');
    expect(await closed(gateway, 'idle_displaced')).toBe(3);
    expect(idle.filter(({ isOver }) => isOver())).toEqual(idle.slice(0, 3));
    expect(streaming.some(({ isOver }) => isOver())).toBe(false);
  });

  test('one more is refused when all are being answered', async () => {
    const gateway = await startWithFewConnections(1, 1, env);
    const body = '{"model":"sim:stall=1","stream":true,"messages":[]}';
    const headers = [key, 'content-type: application/json', `content-length: ${body.length}`];
    const text = requestText('/v1/chat/completions', headers, body);
    const first = await openRaw(gateway.url, { text });
    const path = await eventually(
      () => /content-location: (\S+)/i.exec(first.received())?.[1],
      'the URL of its stream',
    );
    // One streams, one waits, and two read the stream of the first.
    const read = requestText(`${path}?offset=-1&live=sse`, [key]);
    for (const sent of [text, read, read]) await openRaw(gateway.url, { text: sent });
    await eventually(async () => (await open(gateway, 'in_flight')) === 4, 'four to be answered');
    const more = await openRaw(gateway.url);
    await eventually(more.isOver, 'one more to be refused');
    expect(await closed(gateway, 'refused')).toBe(1);
  });

  test('requests that do not come whole give way, the oldest first, whoever sends them', async () => {
    const gateway = await startSmall();
    const body = '{"model":"sim:stall=1","stream":true,"messages":[]}';
    const headers = [key, 'content-type: application/json', `content-length: ${body.length}`];
    const whole = requestText('/v1/chat/completions', headers, body);
    const stalled = whole.slice(0, -1);
    const streaming = await openRaw(gateway.url, { text: whole });
    await eventually(() => streaming.received().includes('data: '), 'the first token');
    const waiting = [];
    // Twice as many as fit, all with a key.
    for (let count = 0; count < 2 * total; count += 1) {
      waiting.push(await openRaw(gateway.url, { text: stalled, localAddress: '127.0.0.2' }));
      await eventually(async () => (await open(gateway, 'stranger')) === 0, 'its key to be read');
    }
    expect(await open(gateway, 'transferring')).toBeGreaterThan(total - 4);
    const honest = await openRaw(gateway.url, { text: whole });
    await eventually(() => honest.received().includes('data: '), 'the first token of somebody else');
    expect(streaming.isOver()).toBe(false);
    expect(await closed(gateway, 'refused')).toBe(0);
    expect(await closed(gateway, 'transfer_displaced')).toBeGreaterThan(total);
    expect(waiting[0]?.isOver()).toBe(true);
    expect(waiting.at(-1)?.isOver()).toBe(false);
  });

  test('without keys, who has sent a whole request is no stranger', async () => {
    const gateway = await startSmall({});
    const known = await openRaw(gateway.url, { text: requestText('/health/live') });
    const withBody = await openRaw(gateway.url, {
      text: requestText(
        '/v1/chat/completions',
        ['content-type: application/json', 'content-length: 2'],
        '{}',
      ),
    });
    await eventually(async () => (await open(gateway, 'idle')) === 2, 'both to be known');
    for (let count = 0; count < 2 * total; count += 1) {
      await openRaw(gateway.url, { localAddress: `127.0.1.${count + 1}` });
    }
    await eventually(async () => (await closed(gateway, 'stranger_displaced')) > total, 'strangers to go');
    expect([known.isOver(), withBody.isOver()]).toEqual([false, false]);
  });

  test('strangers that ask nothing are closed soon, silent ones without a word', async () => {
    const gateway = await startGateway([], { env });
    const silent = await openRaw(gateway.url);
    const slow = await openRaw(gateway.url, { text: 'GET /v1/mod' });
    const refused = await openRaw(gateway.url, { text: requestText('/v1/models') });
    // Strangers have 10 s.
    const areOver = (): boolean => [silent, slow, refused].every(({ isOver }) => isOver());
    await eventually(areOver, 'all to be closed', 20_000);
    expect(silent.received()).toBe('');
    expect(slow.received()).toMatch(/^HTTP\/1.1 408 /);
    expect(refused.received().split('HTTP/1.1 ')).toHaveLength(2);
    expect(await closed(gateway, 'stranger_idle')).toBe(3);
  });

  test('of the admin listener as well', async () => {
    const gateway = await startGateway();
    const before = descriptorsOf(gateway.process.pid);
    for (let count = 0; count < 300; count += 1) await openRaw(gateway.adminUrl);
    const strangers = 'spillway_connections{listener="admin",state="stranger"}';
    await eventually(
      async () => (await metric(gateway.adminUrl, strangers)) <= 128,
      'most of them to be closed',
    );
    expect(descriptorsOf(gateway.process.pid) - before).toBeLessThan(140);
  });

  test('a stop waits for none of them', async () => {
    const gateway = await startGateway(['--host', 'localhost'], { env });
    await openRaw(gateway.url, { reads: false });
    await openRaw(gateway.url, { text: `SSH\r\n${behind}`, reads: false });
    new RawSession(gateway.url);
    await openSession(gateway.url);
    gateway.process.kill('SIGTERM');
    expect(await gateway.exited).toBe(0);
  });
});

test('localhost is every address that it has, each with the same owner', async () => {
  const gateway = await startGateway(['--host', 'localhost']);
  const { port } = new URL(gateway.url);
  let answered = 0;
  for (const host of ['127.0.0.1', '[::1]']) {
    const url = `http://${host}:${port}`;
    // A machine may have only one of them.
    if (!(await isAlive(url).catch(() => false))) continue;
    const client = await openRaw(url, { text: `SSH\r\n${behind}` });
    await eventually(client.isOver, 'the answer');
    expect(client.received()).toContain('"invalid_request"');
    answered += 1;
  }
  expect(answered).toBeGreaterThan(0);
});
