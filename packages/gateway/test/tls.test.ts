import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
} from 'node:net';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { dirname, join } from 'node:path';
import { connect, createSecureContext, TLSSocket } from 'node:tls';
import OpenAI from 'openai';
import pino from 'pino';
import { Agent, fetch as undiciFetch, WebSocket } from 'undici';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { subprotocol } from '@spillway/core/session';
import { Defects } from '@spillway/server/defects';
import type { Links } from '@spillway/server/sink/link';
import { openProcLinks } from '@spillway/server/sink/proc-links';
import { openTcpInfoLinks } from '@spillway/server/sink/tcp-info-links';
import { setTcp } from '@spillway/server/sink/tcp-of';
import { within } from '../../core/test/support/within.ts';
import { Certificate } from '../src/http/certificate.ts';
import { Connections } from '../src/http/connections.ts';
import { TrustedProxies } from '../src/http/trusted-proxies.ts';
import { type Certificates, makeCertificates } from './support/certificates.ts';
import { eventually, run, type RunningGateway, startBoth, startGateway } from './support/processes.ts';
import { chunk, startRawProvider } from './support/raw-provider.ts';
import { chatBody, metric, simulatorStats } from './support/requests.ts';

let certificates: Certificates;
beforeAll(() => {
  certificates = makeCertificates();
});
afterAll(() => certificates.remove());

function flags({ certFile, keyFile } = certificates.server): string[] {
  return ['--tls-cert-file', certFile, '--tls-key-file', keyFile];
}

/** A client that trusts the certificate's authority. */
function trusting(): Agent {
  const agent = new Agent({ connect: { ca: certificates.authority.cert } });
  onTestFinished(() => agent.destroy());
  return agent;
}

/** A TLS connection of a client, with `before` on the bare connection. */
async function openTls(url: string): Promise<TLSSocket> {
  const { hostname, port } = new URL(url);
  const tcp = connectTcp({ host: hostname, port: Number(port) });
  const socket = connect({ socket: tcp, host: hostname, ca: certificates.authority.cert });
  onTestFinished(() => void socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve).once('error', reject);
  });
  socket.on('error', () => undefined);
  return socket;
}

/** A proxy that writes a header, in one piece with the first bytes of each client or before them. Resolves with its URL. */
async function proxyTo(url: string, header: string, isTogether: boolean): Promise<string> {
  const { hostname, port } = new URL(url);
  const server = createTcpServer((client) => {
    const gateway = connectTcp({ host: hostname, port: Number(port) });
    for (const socket of [client, gateway]) {
      onTestFinished(() => void socket.destroy());
      socket.on('error', () => undefined);
    }
    if (!isTogether) gateway.write(header);
    client.once('data', (first: Buffer) => {
      gateway.write(isTogether ? Buffer.concat([Buffer.from(header), first]) : first);
      client.pipe(gateway);
    });
    gateway.pipe(client);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function requestText(model: string): string {
  const body = chatBody(model);
  return (
    `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n` +
    `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}

describe('the listener for clients, with a certificate', () => {
  test('serves SDKs, sessions and reads, and says https', async () => {
    const gateway = await startGateway(flags());
    expect(gateway.url).toMatch(/^https:/);
    const dispatcher = trusting();
    const openai = new OpenAI({
      baseURL: `${gateway.url}/v1`,
      apiKey: 'none',
      maxRetries: 0,
      fetch: (async (url: string, init: object) =>
        await undiciFetch(url, { ...init, dispatcher })) as unknown as typeof fetch,
    });
    let text = '';
    const stream = await openai.chat.completions.create({
      model: 'simulated/sim:tps=0,ttft=0,tokens=20',
      stream: true,
      messages: [],
    });
    for await (const event of stream) text += event.choices[0]?.delta.content ?? '';
    expect(text.length).toBeGreaterThan(50);

    const session = new WebSocket(`${gateway.url.replace('https', 'wss')}/streams`, {
      protocols: subprotocol,
      dispatcher,
    });
    await within(
      new Promise((resolve, reject) => {
        session.addEventListener('message', resolve);
        session.addEventListener('error', reject);
      }),
      'the first frame',
    );
    session.close();
  });

  test('a cut is a reset, and never looks like an end, in HTTP/1.0 too', async () => {
    const { url } = await startRawProvider((_asked, socket) => {
      socket.write(
        `HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n${chunk('half').toString('latin1')}`,
      );
      setTimeout(() => socket.destroy(), 50);
    });
    const gateway = await startGateway(['--upstream', `${url}/v1`, ...flags()]);
    const response = await undiciFetch(`${gateway.url}/v1/files/f/content`, { dispatcher: trusting() });
    await expect(response.text()).rejects.toThrow('terminated');

    const client = await openTls(gateway.url);
    const end = new Promise<string>((resolve) => {
      client.once('end', () => resolve('end'));
      client.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code ?? ''));
    });
    client.resume();
    client.write('GET /v1/files/f/content HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n');
    expect(await within(end, 'the cut')).toBe('ECONNRESET');
  });

  test('promise 11: a reader that stalls is noticed, and its model stopped', async () => {
    const { gateway, simulator } = await startBoth(['--stall-timeout-ms', '1000', ...flags()]);
    const client = await openTls(gateway.url);
    client.pause();
    client.write(requestText('sim:tps=0,ttft=0,tokens=100000000,batch=100'));
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the model to be stopped',
    );
    const stalled = 'spillway_readers_ended_total{reason="stalled"}';
    await eventually(async () => (await metric(gateway.adminUrl, stalled)) === 1, 'the reader to be counted');
  });

  test('works behind a proxy that writes PROXY headers', async () => {
    const gateway = await startGateway([
      ...flags(),
      '--proxy-protocol',
      'true',
      '--trusted-proxies',
      '127.0.0.1',
    ]);
    const header = 'PROXY TCP4 192.0.2.7 192.0.2.8 1000 443\r\n';
    for (const isTogether of [true, false]) {
      const client = await openTls(await proxyTo(gateway.url, header, isTogether));
      const ended = new Promise<string>((resolve) => {
        let received = '';
        client.setEncoding('latin1').on('data', (part: string) => {
          received += part;
          if (received.includes('[DONE]')) resolve(received);
        });
      });
      client.write(requestText('simulated/sim:tps=0,ttft=0,tokens=3'));
      expect(await within(ended, 'the answer')).toContain('HTTP/1.1 200');
    }
    await eventually(() => gateway.stderr().includes('192.0.2.7'), 'the line with the address of the client');
  });

  test('what does not speak TLS is counted and leaves nothing behind', async () => {
    const gateway = await startGateway(flags());
    const plain: Socket[] = [];
    const { hostname, port } = new URL(gateway.url);
    for (let index = 0; index < 20; index += 1) {
      const socket = connectTcp({ host: hostname, port: Number(port) });
      onTestFinished(() => void socket.destroy());
      socket.on('error', () => undefined);
      // Half of them say something else, half of them leave in the middle of a handshake.
      if (index % 2 === 0) socket.write(requestText('sim'));
      else socket.end(Buffer.from('160301020001', 'hex'));
      plain.push(socket);
    }
    const closed = plain.map((socket) => new Promise((resolve) => socket.once('close', resolve).resume()));
    await within(Promise.all(closed), 'the connections to close');
    const handshakes = 'spillway_connections_closed_total{listener="client",cause="tls_handshake"}';
    expect(await metric(gateway.adminUrl, handshakes)).toBeGreaterThanOrEqual(10);
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_connections{listener="client"}')) === 0,
      'no connection to be left',
    );
  });

  test('a certificate without a key, and files that are none, are refused at the start', async () => {
    const { certFile, keyFile } = certificates.server;
    const pipe = join(mkdtempSync(join(tmpdir(), 'spillway-pipe-')), 'cert.pem');
    execFileSync('mkfifo', [pipe]);
    onTestFinished(() => rmSync(dirname(pipe), { recursive: true }));
    const wrong = [
      [['--tls-cert-file', certFile], /tlsKeyFile: expected a file beside tlsCertFile/],
      [['--admin-tls-key-file', keyFile], /adminTlsCertFile: expected a file beside adminTlsKeyFile/],
      [['--tls-cert-file', '/nowhere', '--tls-key-file', keyFile], /tlsCertFile, tlsKeyFile: .*ENOENT/],
      [['--tls-cert-file', keyFile, '--tls-key-file', keyFile], /expected a certificate and its key/],
      [['--tls-cert-file', pipe, '--tls-key-file', keyFile], /expected a certificate .*, got a pipe$/m],
      [
        ['--tls-cert-file', certFile, '--tls-key-file', certificates.client.keyFile],
        /expected a certificate and its key/,
      ],
    ] as const;
    for (const [args, message] of wrong) {
      const command = run(['serve', '--port', '0', '--admin-port', '0', ...args]);
      expect(await command.exited).not.toBe(0);
      expect(command.stderr()).toMatch(message);
      expect(command.stderr()).not.toMatch(/^\s+at /m);
    }
  });
});

test('the admin listener has a certificate of its own, and its end is a figure', async () => {
  const { certFile, keyFile } = certificates.server;
  const gateway: RunningGateway = await startGateway([
    '--admin-tls-cert-file',
    certFile,
    '--admin-tls-key-file',
    keyFile,
  ]);
  expect(gateway.url).toMatch(/^http:/);
  const response = await undiciFetch(`${gateway.adminUrl}/metrics`, { dispatcher: trusting() });
  const [, ends] =
    /^spillway_certificate_expiry_seconds\{listener="admin"[^}]*\} (\S+)/m.exec(await response.text()) ?? [];
  // They are made for two days.
  expect(Number(ends) * 1000 - Date.now()).toBeGreaterThan(86_400_000);
});

test('a renewed certificate is used for new connections, and one that is broken is not', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-renewed-'));
  const files = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') };
  const put = ({ certFile, keyFile }: { certFile: string; keyFile: string }): void => {
    copyFileSync(certFile, files.certFile);
    copyFileSync(keyFile, files.keyFile);
  };
  put(certificates.server);
  const defects = new Defects(pino({ level: 'silent' }));
  const told: string[] = [];
  const listener = { replaced: () => told.push('replaced'), failed: (why: string) => told.push(why) };
  const certificate = new Certificate(files, listener, defects);
  const connections = new Connections({
    maxConnections: 100,
    maxConnectionsPerAddress: 100,
    areKeysRequired: false,
    proxies: new TrustedProxies([]),
    defects,
    hasProxyHeaders: false,
    onRefused: () => undefined,
    answerTimeoutMs: 1000,
    secureContext: () => certificate.context,
  });
  const server = createServer((_request, response) => response.end('ok'));
  connections.own(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    connections.closeAll();
    certificate.close();
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  });
  const { port } = server.address() as { port: number };
  const nameAt = async (): Promise<unknown> => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
    await within(new Promise((resolve) => socket.once('secureConnect', resolve)), 'the handshake');
    const { subject } = socket.getPeerCertificate();
    socket.destroy();
    return subject.CN;
  };
  expect(await nameAt()).toBe('localhost');
  await certificate.look();
  expect(told).toEqual([]);

  put(certificates.client);
  await certificate.look();
  expect(await nameAt()).toBe('client');
  expect(told).toEqual(['replaced']);

  // The certificate is there before its key, as when they are written one after the other.
  copyFileSync(certificates.server.certFile, files.certFile);
  await certificate.look();
  expect(await nameAt()).toBe('client');
  await certificate.look();
  expect(told).toHaveLength(2);
  copyFileSync(certificates.server.keyFile, files.keyFile);
  await certificate.look();
  expect(await nameAt()).toBe('localhost');
  expect(told.at(-1)).toBe('replaced');

  writeFileSync(files.certFile, 'no certificate');
  await certificate.look();
  rmSync(files.certFile);
  await certificate.look();
  await certificate.look();
  expect(await nameAt()).toBe('localhost');
  // A reader of a pipe waits for its writer: here there is none.
  execFileSync('mkfifo', [files.certFile]);
  await within(certificate.look(), 'a look at a pipe');
  await within(certificate.look(), 'another look at it');
  expect(told.slice(3)).toEqual([expect.stringMatching(/PEM/), 'ENOENT', 'a pipe']);
  rmSync(files.certFile);
  put(certificates.client);
  await certificate.look();
  expect(await nameAt()).toBe('client');
});

test.runIf(process.platform === 'linux')(
  'promise 11: what a client has not acknowledged of an encrypted connection is known, as exactly as without TLS',
  async () => {
    const tcpInfo = openTcpInfoLinks();
    const proc = openProcLinks();
    if (tcpInfo === undefined || proc === undefined)
      throw new Error('there is no TCP_INFO, or no /proc/net/tcp');
    const { cert, key } = certificates.server;
    const accepted = Promise.withResolvers<{ tcp: Socket; secure: TLSSocket }>();
    const server = createTcpServer((tcp) => {
      const secureContext = createSecureContext({ cert, key });
      const secure = new TLSSocket(tcp, { isServer: true, secureContext });
      setTcp(secure, tcp);
      accepted.resolve({ tcp, secure });
    });
    onTestFinished(() => void server.close());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const client = await openTls(`https://127.0.0.1:${(server.address() as { port: number }).port}`);
    client.pause();
    const { secure } = await accepted.promise;
    onTestFinished(() => void secure.destroy());
    const acked = tcpInfo.watch(secure);
    const queued = async (links: Links): Promise<number> => (await links.readQueues())?.bytesOf(secure) ?? -1;

    // Small writes: encryption makes them a fifth larger. At the end the client's kernel is full, and this one's half.
    // What is on its way is acknowledged within milliseconds: what stays is what nobody takes.
    const isFull = async (): Promise<boolean> => {
      for (let look = 0; look < 10; look += 1) {
        if ((await queued(tcpInfo)) < 100_000) return false;
        await sleep(10);
      }
      return true;
    };
    while (!(await isFull())) {
      for (let index = 0; index < 100; index += 1) secure.write(Buffer.alloc(100));
      await sleep(0);
    }
    await eventually(async () => (await queued(tcpInfo)) === (await queued(proc)), 'both to say the same');
    expect(await queued(proc)).toBeGreaterThan(0);
    await eventually(async () => {
      const heldBytes = await queued(tcpInfo);
      return acked()?.ackedBytes === secure.bytesWritten - secure.writableLength - heldBytes;
    }, 'the rest to be acknowledged');

    client.resume();
    await eventually(() => acked()?.ackedBytes === secure.bytesWritten, 'everything to have arrived');
    expect(await queued(tcpInfo)).toBe(0);
  },
);
