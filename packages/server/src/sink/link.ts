import type { Socket } from 'node:net';
import type { SendQueues } from './send-queues.ts';

/** The known state of the bytes that were written to a connection. */
export interface LinkState {
  /** The time of this state, on the server's clock. */
  readonly atMs: number;
  /** The bytes of the connection that have arrived since it was opened. */
  readonly ackedBytes: number;
  /** The shortest round trip of the last minutes, which is that of the empty link; `undefined`: unknown. */
  readonly minRttMs: number | undefined;
}

/** Reads the state of one connection; `undefined`: unknown, or the connection is gone. */
export type ReadLink = () => LinkState | undefined;

/** The source of the states of connections. */
export interface Links {
  /** The name in the program's log at start. */
  readonly name: 'proc' | 'tcp-info' | 'writes';
  /** The bytes that the kernel holds for all connections; `undefined`: unknown. */
  readQueues(): Promise<SendQueues | undefined>;
  /** Watches one connection until it closes. */
  watch(socket: Socket): ReadLink;
}

/** The bytes of a connection that the kernel has taken. */
export function takenBytes(socket: Socket): number {
  return socket.bytesWritten - socket.writableLength;
}
