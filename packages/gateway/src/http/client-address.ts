import type { IncomingMessage } from 'node:http';

/** The IP address of the client that sent a request; empty if its connection is gone. */
export function clientAddress({ socket }: Pick<IncomingMessage, 'socket'>): string {
  return socket.remoteAddress ?? '';
}
