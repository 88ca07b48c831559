import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { Certificate } from './certificates.ts';

export interface ConnectProxyOptions {
  /** `USER:PASSWORD` that must be shown. */
  readonly auth?: string;
  /** With it the proxy itself is spoken to over TLS. */
  readonly certificate?: Certificate;
  /** Instead of a tunnel; `null`: nothing at all. */
  readonly answer?: string | null;
}

/** What a proxy was asked for, and what passed it. */
export interface ConnectProxy {
  readonly url: string;
  readonly port: number;
  /** `HOST:PORT` of each tunnel that was opened. */
  readonly tunnels: string[];
  /** Requests that got none, with their status. */
  readonly refused: number[];
  /** Connections that were made to it. */
  connections: number;
  /** Bytes through all tunnels, both ways. */
  bytes: number;
  readonly open: Set<Socket>;
}

/**
 * A proxy that opens tunnels and nothing else, and is strict: another method, a request without a port or a matching `Host`, a
 * body, or what is not HTTP/1.1 gets 400, and who does not show the password gets 407.
 */
export async function startConnectProxy({
  answer,
  auth,
  certificate,
}: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const open = new Set<Socket>();
  const serve = (socket: Socket): void => {
    proxy.connections += 1;
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => open.delete(socket));
    let text = '';
    const onData = (piece: Buffer): void => {
      text += piece.toString('latin1');
      const headEnd = text.indexOf('\r\n\r\n');
      if (headEnd === -1) return;
      socket.off('data', onData);
      if (answer === null) return;
      const target = read(text.slice(0, headEnd), text.length > headEnd + 4, auth);
      if (answer !== undefined || typeof target === 'number') {
        proxy.refused.push(typeof target === 'number' ? target : 0);
        socket.end(answer ?? `HTTP/1.1 ${target} No\r\nContent-Length: 2\r\n\r\nno`);
        return;
      }
      tunnel(socket, target);
    };
    socket.on('data', onData);
  };
  const tunnel = (socket: Socket, target: string): void => {
    const [, host, port] = /^\[?(.+?)\]?:(\d+)$/.exec(target) ?? [];
    const upstream = connect({ host: host ?? '', port: Number(port) });
    open.add(upstream);
    upstream.on('close', () => open.delete(upstream));
    upstream.once('connect', () => {
      proxy.tunnels.push(target);
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      for (const end of [socket, upstream]) end.on('data', (piece: Buffer) => (proxy.bytes += piece.length));
      socket.pipe(upstream).pipe(socket);
    });
    socket.on('close', () => upstream.destroy());
    upstream.on('error', () => {
      proxy.refused.push(502);
      socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
    });
  };
  const server = certificate === undefined ? createServer(serve) : createTlsServer(certificate, serve);
  server.on('tlsClientError', () => undefined);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const scheme = certificate === undefined ? 'http' : 'https';
  const proxy: ConnectProxy = {
    url: `${scheme}://localhost:${port}`,
    port,
    tunnels: [],
    refused: [],
    connections: 0,
    bytes: 0,
    open,
  };
  return proxy;
}

/** Where a tunnel should lead, or the status with which it is refused. */
function read(head: string, hasMore: boolean, auth: string | undefined): string | number {
  const [first = '', ...lines] = head.split('\r\n');
  const [, target] = /^CONNECT (\[[\da-f:]+\]:\d+|[\w.-]+:\d+) HTTP\/1\.1$/.exec(first) ?? [];
  const headers = new Map(
    lines.map((line) => {
      const at = line.indexOf(': ');
      return [line.slice(0, at).toLowerCase(), line.slice(at + 2)] as const;
    }),
  );
  if (target === undefined || hasMore || headers.get('host') !== target) return 400;
  if (headers.has('content-length') || headers.has('transfer-encoding') || headers.has('authorization'))
    return 400;
  const expected = auth === undefined ? undefined : `Basic ${Buffer.from(auth).toString('base64')}`;
  return headers.get('proxy-authorization') === expected ? target : 407;
}
