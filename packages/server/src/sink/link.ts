import type { Socket } from 'node:net';
import type { SendQueues } from './send-queues.ts';

/** What is known of the bytes that were written to a connection. */
export interface LinkState {
  /** When this was so, on the clock of `performance.now()`. */
  readonly atMs: number;
  /** How many bytes of the connection, since it was opened, have arrived. */
  readonly ackedBytes: number;
  /** The shortest round trip of the last minutes, so that of the empty link; `undefined` if not known. */
  readonly minRttMs: number | undefined;
}

/** Asks for the state of one connection; `undefined` if nothing is known of it (any more). */
export type ReadLink = () => LinkState | undefined;

/** Where the state of connections comes from. */
export interface Links {
  /** For the log at start. */
  readonly name: 'proc' | 'tcp-info' | 'writes';
  /** What the kernel holds of all connections now; `undefined` if nothing is known. */
  readQueues(): Promise<SendQueues | undefined>;
  /** Watches one connection until it closes. */
  watch(socket: Socket): ReadLink;
}

/** The bytes of a connection that the kernel has taken. */
export function takenBytes(socket: Socket): number {
  return socket.bytesWritten - socket.writableLength;
}
