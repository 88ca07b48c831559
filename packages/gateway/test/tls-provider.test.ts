import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Command, printed, spawnSpillway } from './support/spawn.ts';
import { type Reader, readers, upstreamFor } from './support/readers.ts';

const folder = mkdtempSync(join(tmpdir(), 'spillway-tls-'));
const keyFile = join(folder, 'key.pem');
const certFile = join(folder, 'cert.pem');
const event = `data: {"choices":[{"index":0,"delta":{"content":"${'x'.repeat(40_000)}"}}]}\n\n`;
const text = `${event.repeat(5)}data: [DONE]\n\n`;
const connections: {
  readonly isReused: boolean;
  readonly name: string | false | null;
  readonly alpn: unknown;
}[] = [];
/** The paths that it was asked for. */
const asked: (string | undefined)[] = [];
const trusted = { NODE_EXTRA_CA_CERTS: certFile };
let provider: Server;
let port: number;

beforeAll(async () => {
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile];
  execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', ...names], {
    stdio: 'pipe',
  });
  provider = createServer(
    { key: readFileSync(keyFile), cert: readFileSync(certFile) },
    (request, response) => {
      asked.push(request.url);
      request.resume().on('end', () => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        for (let at = 0; at < text.length; at += 7001) response.write(text.slice(at, at + 7001));
        response.end();
        if (request.headers['x-close'] !== undefined) request.socket.end();
      });
    },
  );
  provider.on('secureConnection', (socket: TLSSocket) => {
    connections.push({
      isReused: socket.isSessionReused(),
      name: socket.servername,
      alpn: socket.alpnProtocol,
    });
  });
  await new Promise<void>((resolve) => provider.listen(0, 'localhost', resolve));
  ({ port } = provider.address() as AddressInfo);
});
afterAll(() => {
  provider.closeAllConnections();
  provider.close();
  rmSync(folder, { recursive: true });
});

async function withGateway(
  reader: Reader,
  env: Record<string, string>,
  use: (url: string) => Promise<void>,
  host = 'localhost',
): Promise<void> {
  const url = upstreamFor(reader, `https://${host}:${port}/v1`);
  const upstream = ['--upstream', url, '--retries', '0'];
  const gateway: Command = spawnSpillway(['serve', '--port', '0', '--admin-port', '0', ...upstream], { env });
  try {
    await use(await printed(gateway, /Spillway on (\S+)/));
  } finally {
    gateway.process.kill('SIGKILL');
    await gateway.exited;
  }
}

async function ask(url: string, headers: Record<string, string> = {}): Promise<Response> {
  const body = JSON.stringify({ model: 'm', stream: true, messages: [] });
  const common = { 'content-type': 'application/json' };
  return await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...common, ...headers },
    body,
  });
}

describe.each(readers)('a provider with TLS, read by %s', (reader) => {
  test('streams, over a connection that is used again, and a session that is taken up', async () => {
    connections.length = 0;
    await withGateway(reader, trusted, async (url) => {
      expect(await (await ask(url)).text()).toBe(text);
      expect(await (await ask(url, { 'x-close': '1' })).text()).toBe(text);
      expect(connections).toEqual([{ isReused: false, name: 'localhost', alpn: 'http/1.1' }]);
      await expect.poll(async () => (await (await ask(url)).text()) === text && connections.length).toBe(2);
      expect(connections[1]).toMatchObject({ isReused: true });
    });
  });

  test.each([
    ['whose certificate nobody vouches for', {}, false, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['whose certificate is another’s', trusted, true, 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ])('%s is not asked', async (_what, env, isByAddress, reason) => {
    const { address, family } = provider.address() as AddressInfo;
    const host = isByAddress ? (family === 'IPv6' ? `[${address}]` : address) : 'localhost';
    const before = asked.length;
    await withGateway(
      reader,
      env,
      async (url) => {
        const response = await ask(url);
        expect(response.status).toBe(502);
        const { error } = (await response.json()) as { error: { code: string; message: string } };
        expect(error.code).toBe('upstream_untrusted');
        expect(error.message).toContain(`is not trusted (${reason})`);
        expect(error.message).toContain('NODE_EXTRA_CA_CERTS');
      },
      host,
    );
    expect(asked.slice(before)).toEqual([]);
  });

  test('that speaks no TLS is no matter of trust', async () => {
    const plain = createTcpServer(
      (socket) => void socket.on('error', () => undefined).end('HTTP/1.1 200\r\n\r\n'),
    );
    await new Promise<void>((resolve) => plain.listen(0, 'localhost', resolve));
    const before = port;
    ({ port } = plain.address() as AddressInfo);
    await withGateway(reader, trusted, async (url) => {
      const response = await ask(url);
      expect(response.status).toBe(502);
      expect(await response.json()).toMatchObject({ error: { code: 'upstream_unreachable' } });
    });
    port = before;
    plain.close();
  });
});
