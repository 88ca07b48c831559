import { connect as connectTcp, isIP, type NetConnectOpts, type OnReadOpts, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';

/**
 * The most bytes of one read from a provider's connection. Node's default is up to 64 KiB, and a read stays
 * in memory as long as one of its events waits: five times the window, measured with 1,000 stalled readers.
 */
export const maxReadBytes = 16_384;

/**
 * All connections read into this one buffer. Bytes that are needed longer have to be copied before the next
 * read.
 */
const readBuffer = Buffer.allocUnsafeSlow(maxReadBytes);

/**
 * Called with each read: `bytes[0, length)`, valid only until this returns. `false` stops reading until the
 * socket's `resume`.
 */
export type OnRead = (bytes: Buffer, length: number) => boolean;

/** The session of an earlier TLS connection to the same origin, which spares the next one a round trip. */
export interface TlsMemory {
  session: Buffer | undefined;
}

/**
 * Opens a connection to a provider that speaks HTTP/1.1. The socket emits {@link openEvent} when it can be
 * written to.
 */
export function connect({ hostname, port, protocol }: URL, memory: TlsMemory, onRead: OnRead): Socket {
  // A URL's IPv6 address stands in brackets.
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const onread: OnReadOpts = {
    buffer: readBuffer,
    callback: (length) => onRead(readBuffer, length),
  };
  const options: NetConnectOpts = {
    host,
    port: Number(port === '' ? (protocol === 'https:' ? 443 : 80) : port),
    noDelay: true,
    keepAlive: true,
    onread,
  };
  if (protocol !== 'https:') return connectTcp(options);
  const tls: ConnectionOptions = {
    ...options,
    ALPNProtocols: ['http/1.1'],
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(memory.session === undefined ? {} : { session: memory.session }),
  };
  const socket: TLSSocket = connectTls(tls);
  socket.on('session', (session: Buffer) => {
    memory.session = session;
  });
  return socket;
}

/** The event of a socket to this URL that says that it can be written to. */
export function openEvent({ protocol }: URL): 'connect' | 'secureConnect' {
  return protocol === 'https:' ? 'secureConnect' : 'connect';
}
