import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A network between a client and a gateway that loses what a test says, to the byte. */
export interface LossyNetwork {
  readonly url: string;
  /** How many there have been. */
  readonly connections: number;
  /** Refuses connections. */
  isDown: boolean;
  /** Resets all connections. */
  cut(): void;
  /** What the clients of the connections that there are say from now on is held back, also when they have gone. */
  hold(): void;
  /** Hands on what was held back, and says how many bytes that were. */
  release(): Promise<number>;
}

/**
 * `cutAfter` is asked for each connection, which count from 1, behind how many bytes of the client it is cut: those arrive,
 * and nothing else, and the client is reset. Default: none is cut.
 */
export async function startLossyNetwork(
  gatewayUrl: string,
  cutAfter: (connection: number) => number = () => Infinity,
): Promise<LossyNetwork> {
  const { hostname, port } = new URL(gatewayUrl);
  const sockets = new Set<Socket>();
  const links: { readonly gateway: Socket; readonly held: Buffer[]; isHeld: boolean }[] = [];
  const network = { url: '', connections: 0, isDown: false };
  const server = createServer((client) => {
    client.on('error', () => undefined);
    if (network.isDown) {
      client.resetAndDestroy();
      return;
    }
    network.connections += 1;
    let left = cutAfter(network.connections);
    const gateway = connect(Number(port), hostname);
    gateway.on('error', () => undefined);
    sockets.add(client).add(gateway);
    const link = { gateway, held: [] as Buffer[], isHeld: false };
    links.push(link);
    client.on('data', (bytes: Buffer) => {
      if (link.isHeld) {
        link.held.push(bytes);
        return;
      }
      gateway.write(bytes.subarray(0, left));
      left -= bytes.length;
      if (left > 0) return;
      gateway.end();
      client.resetAndDestroy();
    });
    gateway.on('data', (bytes: Buffer) => client.write(bytes));
    client.on('close', () => {
      sockets.delete(client);
      if (!link.isHeld && left > 0) gateway.destroy();
    });
    gateway.on('close', () => {
      sockets.delete(gateway);
      client.destroy();
    });
  });
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    cut();
  });
  network.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(network, {
    cut,
    hold: () => {
      for (const link of links) link.isHeld = true;
    },
    release: async () => {
      let released = 0;
      for (const { gateway, held } of links) {
        for (const bytes of held.splice(0)) {
          released += bytes.length;
          await new Promise((resolve) => gateway.write(bytes, resolve));
        }
      }
      return released;
    },
  });
}
