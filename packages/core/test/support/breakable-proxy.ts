import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Stands before a server: passes bytes on, ends all connections, or holds back what comes. */
export class BreakableProxy {
  readonly #target: number;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #mode: 'holds' | 'passes' | 'refuses' = 'passes';

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async start(target: number): Promise<BreakableProxy> {
    const proxy = new BreakableProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The connections that clients have open. */
  get count(): number {
    return [...this.#pairs].filter(([client]) => !client.destroyed).length;
  }

  refuse(): void {
    this.#mode = 'refuses';
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  hold(): void {
    this.#mode = 'holds';
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  heal(): void {
    this.#mode = 'passes';
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  async close(): Promise<void> {
    this.refuse();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    if (this.#mode === 'refuses') {
      client.destroy();
      return;
    }
    const server = connect(this.#target, '127.0.0.1');
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [server, client] as const]) {
      from.on('data', (bytes) => to.write(bytes));
      from.on('error', () => undefined);
      from.on('end', () => to.end());
      from.on('close', () => {
        // What was held back is passed on first.
        if (this.#mode === 'passes') to.end();
        else to.destroy();
        this.#pairs.delete(pair);
      });
      if (this.#mode === 'holds') from.pause();
    }
  }
}
