import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { eventually } from './spawn.ts';

/** A connection of a client that does nothing by itself, closing included. */
export interface RawConnection {
  readonly socket: Socket;
  /** What it read so far. */
  readonly received: () => string;
  /** Whether its other side has closed, in whatever way. */
  readonly isOver: () => boolean;
}

export interface RawOptions {
  /** What it sends at once. */
  readonly text?: string | Buffer;
  /** With `false` it never reads, and so never learns that it is over. */
  readonly reads?: boolean;
  /** Where it comes from. */
  readonly localAddress?: string;
}

/** Connects to where a URL is. It is gone after the test. */
export async function openRaw(
  url: string,
  { localAddress, reads = true, text = '' }: RawOptions = {},
): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket = connect({
    host: hostname,
    port: Number(port),
    // It does not close only because the other side did.
    allowHalfOpen: true,
    ...(localAddress === undefined ? {} : { localAddress }),
  });
  onTestFinished(() => void socket.destroy());
  let received = '';
  let isOver = false;
  socket.on('error', () => (isOver = true));
  socket.on('end', () => (isOver = true));
  if (reads) socket.setEncoding('latin1').on('data', (part: string) => (received += part));
  await new Promise<void>((resolve) => {
    socket.once('connect', resolve);
    socket.once('error', () => resolve());
  });
  if (text !== '') socket.write(text);
  return { socket, received: () => received, isOver: () => isOver };
}

/** The file descriptors of a process, which is what runs out. */
export function descriptorsOf(pid: number | undefined): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Waits until a process has no more descriptors than that. */
export async function descriptorsBackTo(pid: number | undefined, count: number): Promise<void> {
  await eventually(() => descriptorsOf(pid) <= count, `descriptors to be back to ${count}`);
}

/** A request by HTTP, as text. */
export function requestText(path: string, headers: readonly string[] = [], body = ''): string {
  const method = body === '' ? 'GET' : 'POST';
  return `${[`${method} ${path} HTTP/1.1`, 'host: localhost', ...headers].join('\r\n')}\r\n\r\n${body}`;
}
