import type { AddressInfo, Server } from 'node:net';

/** The URL of a listening server, without a slash at the end. */
export function listeningUrl(server: Server, scheme?: 'https'): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `${scheme ?? 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
