import { describe, expect, test } from 'vitest';
import { loadSettings } from '../src/config/load.ts';
import { networkOf, plainAddress } from '../src/http/address.ts';
import { readProxyHeader } from '../src/http/proxy-header.ts';
import { TrustedProxies } from '../src/http/trusted-proxies.ts';
import { eventually, gatewayForAll, run, type RunningGateway, startGateway } from './support/processes.ts';
import { openRaw, type RawConnection, requestText } from './support/raw-connection.ts';
import { chatBody, metric } from './support/requests.ts';

/** What a client of this connection asks for, whose address then stands in the log. */
function chatText(headers: readonly string[] = []): string {
  const body = chatBody('sim:tokens=1,tps=0,ttft=0');
  return requestText(
    '/v1/chat/completions',
    ['content-type: application/json', `content-length: ${body.length}`, ...headers],
    body,
  );
}

/** The addresses of the streams that have ended. */
function addresses(gateway: RunningGateway): string[] {
  return gateway
    .stderr()
    .split('\n')
    .filter((line) => line.includes('"stream ended"'))
    .map((line) => (JSON.parse(line) as { address: string }).address);
}

/** Asks, and says under which address. */
async function askedBy(gateway: RunningGateway, client: RawConnection, text: string): Promise<string> {
  const before = addresses(gateway).length;
  client.socket.write(text);
  return await eventually(() => addresses(gateway)[before], 'the log line');
}

/** The header of version 2, with as many bytes of its own behind the addresses. */
function binary(command: number, family: number, parts: readonly number[], more = 0): Buffer {
  const head = Buffer.from('\r\n\r\n\0\r\nQUIT\n\0\0\0\0', 'latin1');
  head[12] = 0x20 + command;
  head[13] = family;
  head.writeUInt16BE(parts.length + more, 14);
  return Buffer.concat([head, Buffer.from(parts), Buffer.alloc(more)]);
}

const ipv4 = [203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x34, 0, 80];
const ipv6 = [
  0x20,
  1,
  0xd,
  0xb8,
  ...Array<number>(11).fill(0),
  7,
  ...Array<number>(15).fill(0),
  1,
  0,
  1,
  0,
  80,
];

describe('addresses', () => {
  test.each([
    ['1.2.3.4', '1.2.3.4', '1.2.3.4'],
    ['::ffff:1.2.3.4', '1.2.3.4', '1.2.3.4'],
    ['::FFFF:0102:0304', '1.2.3.4', '1.2.3.4'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1', '2001:db8:0:0'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::', '2001:db8:1:2::', '2001:db8:1:2'],
    ['::1', '::1', '0:0:0:0'],
    ['::1.2.3.4', '::1.2.3.4', '0:0:0:0'],
    ['::2:3:4:5:6:7', '::2:3:4:5:6:7', '0:0:2:3'],
  ])('%s is %s, of %s', (text, plain, network) => {
    expect(plainAddress(text)).toBe(plain);
    expect(networkOf(plain)).toBe(network);
  });

  test.each(['', 'localhost', '1.2.3', '01.2.3.4', '1.2.3.4:80', '[::1]', 'fe80::1%eth0', ':'.repeat(60)])(
    '%o is none',
    (text) => {
      expect(plainAddress(text)).toBeUndefined();
    },
  );
});

describe('whose a request is', () => {
  const proxies = new TrustedProxies(['10.0.0.0/8', '::ffff:192.168.0.0/112', 'fd00::/8', '127.0.0.1']);
  test.each([
    ['who is no proxy', '203.0.113.1', { 'x-forwarded-for': '198.51.100.1' }, '203.0.113.1'],
    ['a proxy by itself', '10.0.0.1', {}, '10.0.0.1'],
    ['one hop', '10.0.0.1', { 'x-forwarded-for': '198.51.100.1' }, '198.51.100.1'],
    [
      'what a client made up',
      '10.0.0.1',
      { 'x-forwarded-for': '1.1.1.1, 10.9.9.9, 198.51.100.1' },
      '198.51.100.1',
    ],
    [
      'proxies of proxies',
      '10.0.0.1',
      { 'x-forwarded-for': '1.1.1.1, 198.51.100.1,192.168.7.7 , fd00::2' },
      '198.51.100.1',
    ],
    ['nobody but proxies', '10.0.0.1', { 'x-forwarded-for': '10.0.0.3, 10.0.0.2' }, '10.0.0.3'],
    ['a port', '10.0.0.1', { 'x-forwarded-for': '198.51.100.1:4711' }, '198.51.100.1'],
    ['brackets', '10.0.0.1', { 'x-forwarded-for': '[2001:DB8::1]:4711' }, '2001:db8::1'],
    ['mapped', '10.0.0.1', { 'x-forwarded-for': '::ffff:198.51.100.1' }, '198.51.100.1'],
    ['no address', '10.0.0.1', { 'x-forwarded-for': '198.51.100.1, unknown' }, '10.0.0.1'],
    ['nothing', '10.0.0.1', { 'x-forwarded-for': '' }, '10.0.0.1'],
    [
      'the standard',
      '127.0.0.1',
      { forwarded: 'for=1.1.1.1, For="[2001:db8::1]:80";proto=https' },
      '2001:db8::1',
    ],
    ['an open quote', '127.0.0.1', { forwarded: 'for="1.1.1.1, for=198.51.100.1' }, '198.51.100.1'],
    ['two of them in one hop', '127.0.0.1', { forwarded: 'for=1.1.1.1;for=198.51.100.1' }, '127.0.0.1'],
    ['a name that hides', '127.0.0.1', { forwarded: 'for=1.1.1.1, for=_secret' }, '127.0.0.1'],
    [
      'both, of one mind',
      '127.0.0.1',
      { forwarded: 'for=198.51.100.1', 'x-forwarded-for': '198.51.100.1' },
      '198.51.100.1',
    ],
    [
      'both, and one is a lie',
      '127.0.0.1',
      { forwarded: 'for=1.1.1.1', 'x-forwarded-for': '198.51.100.1' },
      '127.0.0.1',
    ],
  ])('%s', (_what, peer, headers, client) => {
    expect(proxies.clientOf(peer, headers)).toBe(client);
  });
});

describe('the header of the PROXY protocol', () => {
  test.each([
    ['PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n', '203.0.113.9'],
    ['PROXY TCP6 2001:db8::7 ::1 4711 80\r\n', '2001:db8::7'],
    ['PROXY UNKNOWN\r\n', undefined],
    ['PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n', undefined],
    [binary(1, 0x11, ipv4), '203.0.113.9'],
    [binary(1, 0x21, ipv6), '2001:db8::7'],
    [binary(1, 0x11, ipv4, 300), '203.0.113.9'],
    [binary(1, 0x31, Array<number>(216).fill(1)), undefined],
    [binary(1, 0, []), undefined],
    [binary(0, 0, []), undefined],
    [binary(0, 0x11, ipv4), undefined],
  ])('%o, whole and byte by byte', (text, address) => {
    const header = Buffer.from(text);
    for (let length = 0; length < header.length; length += 1) {
      expect(readProxyHeader(header.subarray(0, length))).toBe('incomplete');
    }
    const behind = Buffer.concat([header, Buffer.from('GET')]);
    expect(readProxyHeader(behind)).toEqual({ byteLength: header.length, address });
  });

  test.each([
    'GET / HTTP/1.1\r\n',
    'PROXY TCP4 203.0.113.9 127.0.0.1 4711\r\n',
    'PROXY TCP4 2001:db8::7 ::1 4711 80\r\n',
    'PROXY TCP4 203.0.113.9 ::1 4711 80\r\n',
    'PROXY TCP6 203.0.113.9 127.0.0.1 4711 80\r\n',
    'PROXY TCP4 203.0.113.9 127.0.0.1 4711 99999\r\n',
    'PROXY UDP4 203.0.113.9 127.0.0.1 4711 80\r\n',
    `PROXY UNKNOWN ${'x'.repeat(100)}`,
    binary(2, 0x11, ipv4),
    binary(-0x10, 0x11, ipv4),
    binary(1, 0x11, ipv4.slice(1)),
    binary(1, 0x11, ipv4, 5000),
  ])('%o is none', (text) => {
    expect(readProxyHeader(Buffer.from(text))).toBe('invalid');
  });
});

test('what a trusted proxy says of a client stands in the log, and what anybody else says does not', async () => {
  const gateway = await startGateway(['--trusted-proxies', '127.0.0.2,10.0.0.0/8']);
  const spoofed = chatText(['x-forwarded-for: 198.51.100.1', 'forwarded: for=198.51.100.1']);
  const stranger = await openRaw(gateway.url);
  expect(await askedBy(gateway, stranger, spoofed)).toBe('127.0.0.1');
  const proxy = await openRaw(gateway.url, { localAddress: '127.0.0.2' });
  expect(await askedBy(gateway, proxy, spoofed)).toBe('198.51.100.1');
  // The next request of the same connection is another client's.
  expect(await askedBy(gateway, proxy, chatText(['x-forwarded-for: 203.0.113.5, 10.1.1.1']))).toBe(
    '203.0.113.5',
  );
  expect(await askedBy(gateway, proxy, chatText())).toBe('127.0.0.2');
});

test('a trusted proxy is not bounded as one address, and everybody else is', async () => {
  const args = ['--max-connections-per-address', '5', '--trusted-proxies', '127.0.0.2'];
  const gateway = await startGateway(args, { env: { SPILLWAY_API_KEYS: 'alpha' } });
  for (const localAddress of ['127.0.0.2', '127.0.0.3']) {
    for (let count = 0; count < 20; count += 1) await openRaw(gateway.url, { localAddress });
  }
  const bounded = 'spillway_connections_closed_total{listener="client",cause="address_bound"}';
  await eventually(
    async () => (await metric(gateway.adminUrl, bounded)) === 15,
    'those of one address to go',
  );
  expect(await metric(gateway.adminUrl, 'spillway_connections{listener="client",state="stranger"}')).toBe(25);
});

describe('with the PROXY protocol', () => {
  const args = ['--proxy-protocol', '--trusted-proxies', '127.0.0.2'];
  const shared = gatewayForAll(args);
  const header = Buffer.from('PROXY TCP4 203.0.113.9 127.0.0.1 4711 80\r\n');

  test.each([
    ['version 1', header, '203.0.113.9'],
    ['version 2', binary(1, 0x21, ipv6), '2001:db8::7'],
    ['a health check', binary(0, 0, []), '127.0.0.2'],
  ])('a connection is whose it says, for all of its requests: %s', async (_what, start, address) => {
    const gateway = shared();
    const before = addresses(gateway).length;
    const client = await openRaw(gateway.url, {
      localAddress: '127.0.0.2',
      text: Buffer.concat([start, Buffer.from(chatText())]),
    });
    await eventually(() => addresses(gateway).length === before + 1, 'the log line');
    expect(await askedBy(gateway, client, chatText(['x-forwarded-for: 1.1.1.1']))).not.toBe('');
    // Behind the header of a health check it is the proxy's own, and its word for somebody else counts.
    expect(addresses(gateway).slice(before)).toEqual([
      address,
      address === '127.0.0.2' ? '1.1.1.1' : address,
    ]);
  });

  test('its header may come byte by byte, and an upgrade behind it', async () => {
    const client = await openRaw(shared().url, { localAddress: '127.0.0.2' });
    const upgrade = requestText('/streams', [
      'connection: upgrade',
      'upgrade: websocket',
      'sec-websocket-version: 13',
      'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==',
      'sec-websocket-protocol: spillway.v1',
    ]);
    for (const byte of header) {
      client.socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    client.socket.write(upgrade);
    await eventually(() => client.received().includes('"type":"open"'), 'the session');
  });

  test('a trusted proxy has to begin with it, soon, and nobody else may', async () => {
    const gateway = await startGateway(args);
    const without = await openRaw(gateway.url, {
      localAddress: '127.0.0.2',
      text: requestText('/health/live'),
    });
    const silent = await openRaw(gateway.url, { localAddress: '127.0.0.2' });
    const endless = await openRaw(gateway.url, {
      localAddress: '127.0.0.2',
      text: `PROXY ${'x'.repeat(200)}`,
    });
    const started = await openRaw(gateway.url, { localAddress: '127.0.0.2', text: 'PROXY TCP4 ' });
    const foreign = await openRaw(gateway.url, { text: Buffer.concat([header, Buffer.from(chatText())]) });
    const all = [without, silent, endless, started, foreign];
    // Strangers have 10 s.
    await eventually(() => all.every(({ isOver }) => isOver()), 'all to be closed', 20_000);
    expect(all.slice(0, 4).map(({ received }) => received())).toEqual(['', '', '', '']);
    expect(foreign.received()).toContain('400 Bad Request');
    expect(addresses(gateway)).toEqual([]);
    const closed = 'spillway_connections_closed_total{listener="client",cause="proxy_header"}';
    expect(await metric(gateway.adminUrl, closed)).toBe(4);
    // Who is no proxy speaks HTTP as ever.
    expect(await askedBy(gateway, await openRaw(gateway.url), chatText())).toBe('127.0.0.1');
  });

  test('the bound by address is on those that the header names', async () => {
    const gateway = await startGateway([...args, '--max-connections-per-address', '3']);
    const of = (last: number): Buffer => Buffer.from(`PROXY TCP4 203.0.113.${last} 127.0.0.1 4711 80\r\n`);
    const others = await openRaw(gateway.url, { localAddress: '127.0.0.2', text: of(1) });
    for (let count = 0; count < 10; count += 1) {
      await openRaw(gateway.url, { localAddress: '127.0.0.2', text: of(2) });
    }
    const bounded = 'spillway_connections_closed_total{listener="client",cause="address_bound"}';
    await eventually(
      async () => (await metric(gateway.adminUrl, bounded)) === 7,
      'those of one address to go',
    );
    expect(others.isOver()).toBe(false);
  });

  test.each([
    ['yes', 'expected true or false, got "yes"'],
    ['true', 'expected trustedProxies whose connections begin so, got none'],
    ['false', ''],
  ])('is on or off: %s', (text, message) => {
    const load = (): unknown =>
      loadSettings({ flags: {}, env: { SPILLWAY_PROXY_PROTOCOL: text }, file: undefined });
    if (message === '') expect(load()).toMatchObject({ config: { proxyProtocol: false } });
    else expect(load).toThrow(message);
  });

  test('needs proxies to trust', async () => {
    const refused = run(['serve', '--port', '0', '--admin-port', '0', '--proxy-protocol']);
    expect(await refused.exited).toBe(78);
    expect(refused.stderr()).toContain('proxyProtocol (--proxy-protocol): expected trustedProxies');
  });
});

test.each(['10.0.0.0/33', '10.0.0', 'proxy.example', '::/129', '10.0.0.0/8/8', '::ffff:10.0.0.0/8'])(
  '%s is nobody to trust',
  async (text) => {
    const refused = run(['serve', '--port', '0', '--admin-port', '0', '--trusted-proxies', text]);
    expect(await refused.exited).toBe(78);
    expect(refused.stderr()).toContain('expected addresses and networks');
  },
);
