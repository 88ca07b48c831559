import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

const addresses = new WeakMap<object, string>();

/**
 * Notes the client's address of a connection, or of a request that a trusted proxy forwards. Call it once, and only
 * from the owner of the connections, which knows the trusted proxies.
 */
export function setClientAddress(of: IncomingMessage | Socket, address: string): void {
  addresses.set(of, address);
}

/**
 * The IP address of the client that sent a request, as the trusted proxies give it. Empty if the connection is not
 * known.
 */
export function clientAddress(request: Pick<IncomingMessage, 'socket'>): string {
  return addresses.get(request) ?? addresses.get(request.socket) ?? '';
}
