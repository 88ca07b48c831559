import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { within } from '../../../core/test/support/within.ts';

/** A request on a bare socket, of which the test itself sends what it likes. */
export interface RawRequest {
  readonly socket: Socket;
  /** What was answered so far. */
  readonly answer: () => string;
  /** Resolves when the connection is over, in whatever way; rejects when that takes too long. */
  readonly closed: () => Promise<void>;
}

/** Sends a request's head; the rest is up to the test. */
export async function openRaw(
  url: string,
  headers: Readonly<Record<string, string>>,
  { method = 'POST', path = '/v1/chat/completions' }: { method?: string; path?: string } = {},
): Promise<RawRequest> {
  const { host, hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  let answer = '';
  socket.setEncoding('latin1').on('data', (text: string) => (answer += text));
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  onTestFinished(() => void socket.destroy());
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  const lines = Object.entries({ host, 'content-type': 'application/json', ...headers });
  socket.write(
    `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
  );
  return {
    socket,
    answer: () => answer,
    closed: () => within(closed, 'the connection to close'),
  };
}

/** Bytes as one chunk of a chunked body. */
export function chunkOf(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}
