import { connect as connectTcp, type NetConnectOpts, type Socket } from 'node:net';
import { buildConnector, errors } from 'undici';

/**
 * The most that one read takes from a provider's connection. Node by itself takes up to 64 KiB and
 * keeps all of it in memory for as long as one event of it waits: five times the window, measured with
 * 1,000 stalled readers.
 */
export const maxReadBytes = 16_384;

/** Every connection reads into this, and keeps a copy of just what came. */
const readBuffer = new Uint8Array(maxReadBytes);

/**
 * Connects to a provider. TLS connections are undici's own: their records are no larger than what is
 * read here at once.
 *
 * A connection that is not made within `timeoutMs` fails with undici's `ConnectTimeoutError`.
 */
export function createConnector(timeoutMs: number): buildConnector.connector {
  const connectTls = buildConnector({ timeout: timeoutMs, allowH2: false });
  return (options, callback) => {
    if (options.protocol === 'https:') {
      connectTls(options, callback);
      return;
    }
    const socket: Socket = connectTcp({
      // A URL's IPv6 address stands in brackets.
      host: options.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: Number(options.port === '' ? 80 : options.port),
      noDelay: true,
      keepAlive: true,
      // One read ahead and no more: what waits, waits in the channel.
      highWaterMark: 1,
      onread: {
        buffer: readBuffer,
        callback: (length) => socket.push(copyOf(length)),
      },
    } as NetConnectOpts);
    const timer = setTimeout(() => {
      socket.destroy(new errors.ConnectTimeoutError(`no connection within ${timeoutMs} ms`));
    }, timeoutMs);
    const settle = (error: Error | null): void => {
      clearTimeout(timer);
      socket.off('error', settle);
      socket.off('connect', onConnect);
      if (error === null) callback(null, socket);
      else callback(error, null);
    };
    const onConnect = (): void => settle(null);
    socket.once('error', settle);
    socket.once('connect', onConnect);
  };
}

/** Not from Node's pool: one small piece that waits would keep a whole slab of it in memory. */
function copyOf(length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  bytes.set(readBuffer.subarray(0, length));
  return bytes;
}
