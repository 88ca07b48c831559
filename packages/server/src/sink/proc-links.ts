import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { type Links, type LinkState, takenBytes } from './link.ts';
import { readSendQueues } from './send-queues.ts';

/** At most one pass over all connections in this time, and for at most this part of a processor's time. */
const minPassMs = 40;
const maxPassShare = 0.05;

/**
 * Reads `/proc/net/tcp`. One pass gives the state of all connections, so they share it, and its cost is bounded. A
 * connection has the state of the last pass. `undefined`: there is no such file.
 */
export function openProcLinks(): Links | undefined {
  if (!existsSync('/proc/net/tcp')) return undefined;
  const states = new Map<Socket, LinkState | undefined>();
  let nextMs = 0;
  const pass = async (): Promise<void> => {
    const startMs = performance.now();
    if (startMs < nextMs) return;
    nextMs = Infinity;
    const taken = [...states.keys()].map((socket) => [socket, takenBytes(socket)] as const);
    const queues = await readSendQueues();
    for (const [socket, bytes] of taken) {
      const queued = queues?.bytesOf(socket);
      if (queued === undefined || !states.has(socket)) continue;
      // Bytes written since `taken` was read may be in `queued`. So ackedBytes is at most what has arrived.
      states.set(socket, { atMs: startMs, ackedBytes: bytes - queued, minRttMs: undefined });
    }
    const endMs = performance.now();
    nextMs = endMs + Math.max(minPassMs, (endMs - startMs) / maxPassShare);
  };
  return {
    name: 'proc',
    readQueues: readSendQueues,
    watch(socket) {
      states.set(socket, undefined);
      socket.once('close', () => states.delete(socket));
      void pass();
      return () => {
        void pass();
        return states.get(socket);
      };
    },
  };
}
