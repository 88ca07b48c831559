import { request as httpRequest } from 'node:http';
import { connect as connectTcp, isIP, type NetConnectOpts, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import type { Proxy, Transport } from '../../config/transport.ts';
import { GatewayError } from '@spillway/server/errors';
import { maxReadBytes, type TlsMemory } from '../connect.ts';
import { CertificateError, type ConnectionLimits, ConnectTimeoutError } from '../exchange.ts';

export interface DialOptions {
  readonly transport: Transport;
  /** Holds the TLS session of an earlier connection, and then this one's. */
  readonly tls: TlsMemory;
  readonly limits: Pick<ConnectionLimits, 'connectTimeoutMs' | 'maxHeaderBytes'>;
}

/** Called once, with either an error or a socket; not called after `destroy`. */
type OnDialled = (error: Error | null, socket: Socket | null) => void;

/** Connects to a provider: through a proxy, if there is one, and with TLS, if the URL's scheme is https. */
export class Dial {
  readonly #origin: URL;
  readonly #options: DialOptions;
  readonly #timer: NodeJS.Timeout;
  #onDialled: OnDialled | undefined;
  /** The socket to the provider or to the proxy. */
  #socket: Socket | undefined;

  constructor(origin: URL, options: DialOptions, onDialled: OnDialled) {
    this.#origin = origin;
    this.#options = options;
    this.#onDialled = onDialled;
    const { connectTimeoutMs } = options.limits;
    this.#timer = setTimeout(() => {
      this.#settle(new ConnectTimeoutError(`no connection within ${connectTimeoutMs} ms`), null);
    }, connectTimeoutMs);
    const { proxy } = options.transport;
    if (proxy !== undefined) this.#askProxy(proxy);
    else if (origin.protocol === 'https:') this.#secure(undefined);
    else this.#await(connectTcp(socketOptions(origin)), 'connect');
  }

  /** Stops connecting, without calling back. */
  destroy(): void {
    this.#onDialled = undefined;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
  }

  #askProxy({ authorization, url }: Proxy): void {
    const options = socketOptions(url);
    const toProxy =
      url.protocol === 'https:' ? connectTls({ ...options, ...serverName(url) }) : connectTcp(options);
    this.#socket = toProxy;
    const { host, port, protocol } = this.#origin;
    const target = port === '' ? `${host}:${protocol === 'https:' ? 443 : 80}` : host;
    const request = httpRequest({
      method: 'CONNECT',
      path: target,
      headers: {
        host: target,
        ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }),
      },
      createConnection: () => toProxy,
      maxHeaderSize: this.#options.limits.maxHeaderBytes,
    });
    request.on('error', (error: NodeJS.ErrnoException) => this.#settle(unreachableProxy(error), null));
    request.on('connect', ({ statusCode = 0 }, socket: Socket, head: Buffer) => {
      if (statusCode < 200 || statusCode > 299) {
        this.#settle(refusedTunnel(statusCode), null);
        return;
      }
      if (head.length > 0) socket.unshift(head);
      if (protocol === 'https:') this.#secure(socket);
      else this.#settle(null, socket);
    });
    request.end();
  }

  /** Starts TLS, in `tunnel` or over a new connection. */
  #secure(tunnel: Socket | undefined): void {
    const { tls, transport } = this.#options;
    const options: ConnectionOptions = {
      ...(tunnel === undefined ? socketOptions(this.#origin) : { socket: tunnel }),
      ALPNProtocols: transport.http2 ? ['h2', 'http/1.1'] : ['http/1.1'],
      ...serverName(this.#origin),
      ...(transport.secureContext === undefined ? {} : { secureContext: transport.secureContext }),
      ...(tls.session === undefined ? {} : { session: tls.session }),
    };
    const socket = connectTls(options);
    socket.on('session', (session: Buffer) => {
      tls.session = session;
    });
    this.#await(socket, 'secureConnect');
  }

  #await(socket: Socket | TLSSocket, event: 'connect' | 'secureConnect'): void {
    this.#socket = socket;
    socket.once(event, () => this.#settle(null, socket));
    // This listener stays: a socket may still emit `error` after the end of the dial, and without a listener
    // that would end the process.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const isUntrusted = 'authorizationError' in socket && Boolean(socket.authorizationError);
      this.#settle(isUntrusted ? new CertificateError(error) : error, null);
    });
    socket.once('close', () => this.#settle(new Error('the connection was closed'), null));
  }

  #settle(error: Error | null, socket: Socket | null): void {
    const onDialled = this.#onDialled;
    if (onDialled === undefined) {
      if (error === null) socket?.destroy();
      return;
    }
    this.#onDialled = undefined;
    clearTimeout(this.#timer);
    if (error !== null) this.#socket?.destroy();
    onDialled(error, socket);
  }
}

/**
 * The options of a socket. Its reads are as large as the built-in reader's, where Node has such an option.
 */
function socketOptions({ hostname, port, protocol }: URL): NetConnectOpts & { highWaterMark: number } {
  return {
    // A URL's IPv6 address stands in brackets.
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port === '' ? (protocol === 'https:' ? 443 : 80) : port),
    noDelay: true,
    keepAlive: true,
    highWaterMark: maxReadBytes,
  };
}

function serverName({ hostname }: URL): { servername?: string; host: string } {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(host) === 0 ? { servername: host, host } : { host };
}

/** The message does not contain the proxy's address: clients see this error, too. */
function unreachableProxy(error: NodeJS.ErrnoException): GatewayError {
  return new GatewayError(
    'proxy_unreachable',
    `The proxy to the provider cannot be reached (${error.code ?? 'no code'}): expected one that answers CONNECT.`,
    { cause: error },
  );
}

function refusedTunnel(status: number): GatewayError {
  // A proxy's status from 500 on is about the provider, not about the gateway's request.
  if (status >= 500)
    return new GatewayError(
      'upstream_unreachable',
      `The provider cannot be reached: its proxy answered the request for a tunnel with status ${status}.`,
    );
  const expected =
    status === 407
      ? 'expected the user and password that it knows'
      : 'expected leave for a tunnel to the provider';
  return new GatewayError(
    'proxy_refused',
    `The proxy to the provider refuses a tunnel (status ${status}): ${expected}.`,
  );
}
