import { lookup } from 'node:dns/promises';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Connections } from './connections.ts';

/**
 * Listens at a host: at all of the addresses that `localhost` has on this machine, of which one may be missing. Fastify by
 * itself makes a server for each that nobody has a hand on.
 */
export async function listenAt(
  server: FastifyInstance,
  connections: Connections,
  host: string,
  port: number,
): Promise<void> {
  const addresses = host === 'localhost' ? await lookup(host, { all: true }) : [];
  const [first, ...others] = addresses.map(({ address }) => address);
  await server.listen({ host: first ?? host, port });
  const { port: taken } = server.server.address() as AddressInfo;
  for (const other of others) await connections.listen(other, taken).catch(() => undefined);
}
