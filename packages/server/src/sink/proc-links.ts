import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { type Links, type LinkState, takenBytes } from './link.ts';
import { readSendQueues } from './send-queues.ts';

/** At most one pass over all connections in this time, and for at most this share of a processor. */
const minPassMs = 40;
const maxPassShare = 0.05;

/**
 * `/proc/net/tcp`: one pass tells of all connections, so it is shared, and what it costs is bounded. The
 * state of a connection is that of the last pass. `undefined` if there is no such file.
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
      // What was written since can only make this look older than it is.
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
