import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Connections } from '../http/connections.ts';

/**
 * Listens at a host, with so many sockets at each of its addresses: `localhost` may have two on this machine, of which one
 * may be missing. Fastify by itself makes a server for each that nobody has a hand on.
 *
 * @throws if another process listens there, or if it may not.
 */
export async function listenAt(
  server: FastifyInstance,
  connections: Connections,
  host: string,
  port: number,
  listeners: number,
): Promise<void> {
  const addresses = host === 'localhost' ? await lookup(host, { all: true }) : [];
  const [first = host, ...others] = addresses.map(({ address }) => address);
  const reusePort = listeners > 1;
  if (reusePort && port !== 0) await claim(first, port);
  await server.listen(Object.assign({ host: first, port }, { reusePort }));
  const { port: taken } = server.server.address() as AddressInfo;
  const listen = async (address: string, count: number): Promise<void> => {
    for (let made = 0; made < count; made += 1) {
      await connections.listen({ host: address, port: taken, reusePort });
    }
  };
  await listen(first, listeners - 1);
  for (const other of others) {
    try {
      if (reusePort) await claim(other, taken);
      await listen(other, listeners);
    } catch {
      // That address is missing on this machine, or somebody else has the port there: the first one is enough.
    }
  }
}

/** A port that is shared could be shared with a second gateway by mistake: whoever does not share it finds out. */
async function claim(host: string, port: number): Promise<void> {
  const probe = createServer();
  probe.listen({ host, port });
  await once(probe, 'listening');
  probe.close();
  await once(probe, 'close');
}
