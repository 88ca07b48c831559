import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

const addresses = new WeakMap<IncomingMessage | Socket, string>();

/**
 * Says once whose a connection is, or a request that a trusted proxy sends for somebody. Only for the owner of the
 * connections, who knows whose word counts.
 */
export function setClientAddress(of: IncomingMessage | Socket, address: string): void {
  addresses.set(of, address);
}

/** The IP address of the client that sent a request, as the trusted proxies tell it; empty if its connection is not known. */
export function clientAddress(request: IncomingMessage): string {
  return addresses.get(request) ?? addresses.get(request.socket) ?? '';
}
