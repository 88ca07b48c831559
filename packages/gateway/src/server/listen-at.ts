import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Connections } from '../http/connections.ts';

/** A listener of the gateway cannot listen; `cause` says why, and `setting` which of them it is. */
export class ListenFailure extends Error {
  override readonly name = 'ListenFailure';
  readonly setting: 'adminPort' | 'port';

  constructor(setting: ListenFailure['setting'], cause: unknown) {
    super(`The listener of ${setting} cannot listen.`, { cause });
    this.setting = setting;
  }
}

/**
 * Listens at a host, with `listeners` sockets at each of its addresses. `localhost` may have two addresses, of which
 * one may be missing on this machine. Fastify by itself would make servers for the other addresses that this code
 * could not reach.
 *
 * @throws if another process listens there, or if listening is not permitted.
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
  // Fastify does not know of the TLS below it.
  const listenTextResolver = (url: string): string =>
    `Server listening at ${connections.isSecure ? url.replace(/^http:/, 'https:') : url}`;
  await server.listen(Object.assign({ host: first, port, listenTextResolver }, { reusePort }));
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
      // The address is missing on this machine, or another process has the port there. The first address is enough.
    }
  }
}

/**
 * Throws if another process has the port. With a shared port a second gateway could join by mistake, so this first
 * listens without sharing.
 */
async function claim(host: string, port: number): Promise<void> {
  const probe = createServer();
  probe.listen({ host, port });
  await once(probe, 'listening');
  probe.close();
  await once(probe, 'close');
}
