import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { Certificate } from './certificates.ts';

/** What came in a frame (RFC 9113, 4.1). */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export const frameTypes = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
} as const;
export const endStream = 1;
export const endHeaders = 4;
/** `:status: 200`, which HPACK has in its table; more headers are written as they are. */
export const status200 = Buffer.from([0x88]);

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header, as HPACK has one that is in no table. */
export function header(name: string, value: string): Buffer {
  const text = (part: string): Buffer => {
    const length = Buffer.byteLength(part);
    if (length > 126) throw new RangeError('a header for a test is short');
    return Buffer.concat([Buffer.from([length]), Buffer.from(part)]);
  };
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

export function uint32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}

export interface RawHttp2Provider {
  readonly origin: string;
  readonly port: number;
  /** Every frame that came, of all connections, in order. */
  readonly frames: Frame[];
  connections: number;
  /** Ends when the last connection has. */
  readonly open: Set<TLSSocket>;
}

const prefaceLength = 24;

/**
 * A provider that speaks HTTP/2 in frames which a test writes itself. It says what it takes at once, answers pings, and hands
 * every request's headers to `answer`. Without `settings` it says nothing by itself.
 */
export async function startRawHttp2(
  { cert, key }: Certificate,
  answer: (stream: number, socket: TLSSocket, count: number) => void,
  settings: Buffer | null = Buffer.alloc(0),
): Promise<RawHttp2Provider> {
  const frames: Frame[] = [];
  const open = new Set<TLSSocket>();
  let count = 0;
  const server = createServer({ cert, key, ALPNProtocols: ['h2'] }, (socket) => {
    provider.connections += 1;
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => open.delete(socket));
    if (settings !== null) socket.write(frame(frameTypes.settings, 0, 0, settings));
    let bytes = Buffer.alloc(0);
    let isBegun = false;
    socket.on('data', (piece: Buffer) => {
      bytes = Buffer.concat([bytes, piece]);
      if (!isBegun && bytes.length < prefaceLength) return;
      if (!isBegun) bytes = bytes.subarray(prefaceLength);
      isBegun = true;
      while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
        const length = bytes.readUIntBE(0, 3);
        const came: Frame = {
          type: bytes[3] ?? 0,
          flags: bytes[4] ?? 0,
          stream: bytes.readUInt32BE(5),
          payload: Buffer.from(bytes.subarray(9, 9 + length)),
        };
        bytes = bytes.subarray(9 + length);
        frames.push(came);
        if (came.type === frameTypes.settings && (came.flags & 1) === 0 && settings !== null)
          socket.write(frame(frameTypes.settings, 1, 0));
        if (came.type === frameTypes.ping && (came.flags & 1) === 0 && settings !== null)
          socket.write(frame(frameTypes.ping, 1, 0, came.payload));
        if (came.type === frameTypes.headers) answer(came.stream, socket, (count += 1));
      }
    });
  });
  server.on('tlsClientError', () => undefined);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const provider: RawHttp2Provider = {
    origin: `https://localhost:${port}`,
    port,
    frames,
    connections: 0,
    open,
  };
  return provider;
}
