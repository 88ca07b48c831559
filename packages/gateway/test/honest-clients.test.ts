import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, expect, test } from 'vitest';
import { providerHeaders } from '../src/http/headers.ts';
import { listed } from '@spillway/server/http/listed';
import { ReceivedBody } from '../src/http/received-body.ts';
import { readTarget } from '../src/http/request-target.ts';
import { TrustedProxies } from '../src/http/trusted-proxies.ts';
import { ResponseReader } from '../src/source/response-reader.ts';
import { eventually, startGateway } from './support/processes.ts';
import { openRaw, requestText } from './support/raw-connection.ts';
import { chatBody } from './support/requests.ts';
import { chatRequest, openSession } from './support/session.ts';

/** A stream of 2.5 s. */
const long = chatBody('sim:tps=20,tokens=50,ttft=0');

function linkLocal(): string | undefined {
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    const found = addresses.find(({ address }) => address.startsWith('fe80:'));
    if (found !== undefined) return `${found.address}%${name}`;
  }
  return undefined;
}

test('an answer that waits behind a stream does not end it', async () => {
  const gateway = await startGateway(['--stall-timeout-ms', '300']);
  const headers = ['content-type: application/json', `content-length: ${long.length}`];
  const asked = requestText('/v1/chat/completions', headers, long) + requestText('/health/live');
  const client = await openRaw(gateway.url, { text: asked });
  await eventually(() => client.received().includes('{"status":"ok"}'), 'the second answer');
  expect(client.received()).toContain('data: [DONE]');
});

test.skipIf(linkLocal() === undefined)('a client may have a link-local address', async () => {
  const gateway = await startGateway(['--host', '::', '--simulated'], {
    env: { SPILLWAY_API_KEYS: 'alpha' },
  });
  const { port } = new URL(gateway.url);
  const socket = connect({ host: linkLocal() ?? '', port: Number(port) });
  let received = '';
  socket.on('error', () => undefined);
  socket.setEncoding('latin1').on('data', (part: string) => (received += part));
  socket.write(requestText('/health/live'));
  await eventually(() => received.includes('{"status":"ok"}'), 'the answer');
  socket.destroy();
});

test('a request over a session is as large as one by HTTP may be, or smaller', async () => {
  const gateway = await startGateway(['--max-request-bytes', '1000']);
  const client = await openSession(gateway.url);
  client.send(chatRequest(`sim:${' '.repeat(1000)}`, { stream: 1 }));
  client.send(chatRequest('sim:tps=0,tokens=1', { stream: 2 }));
  await eventually(() => client.of('end').length === 2, 'both answers');
  expect(client.of('response', 1)[0]?.status).toBe(413);
  expect(client.of('response', 2)[0]?.status).toBe(200);
});

test('a body takes no more room than its length says', () => {
  let room = 0;
  const takeRoom = (bytes: number): boolean => {
    room += bytes;
    return true;
  };
  const body = new ReceivedBody({ takeRoom, scanner: undefined, expectedBytes: 660_000 });
  for (let at = 0; at < 660_000; at += 60_000) body.add(Buffer.alloc(60_000, ' '));
  expect(body.byteLength).toBe(660_000);
  expect(room).toBe(660_000);
});

test('browsers leave backslashes in a query', () => {
  expect(readTarget('/v1/files?after=a\\b')).toBe('/v1/files?after=a\\b');
  expect(readTarget('/v1\\files?after=a')).toBeUndefined();
});

describe('a run of spaces costs its length and not the square of that', () => {
  const header = `a${' '.repeat(100_000)}b`;

  test.each<readonly [name: string, read: () => unknown]>([
    ['in a list', () => listed(header)],
    ['in Connection', () => providerHeaders({ connection: header }, {})],
    [
      'in Forwarded',
      () => new TrustedProxies(['10.0.0.1']).clientOf('10.0.0.1', { forwarded: `for=${header}` }),
    ],
    [
      'in a reply',
      () => {
        const reader = new ResponseReader(1_048_576);
        reader.expect();
        const head = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: ${header}\r\n\r\n`);
        const ignore = (): void => undefined;
        return reader.read(head, 0, head.length, { onHead: ignore, onBody: ignore, onEnd: ignore });
      },
    ],
  ])('%s', (_name, read) => {
    const beforeMs = performance.now();
    read();
    // The square would be seconds.
    expect(performance.now() - beforeMs).toBeLessThan(200);
  });
});
