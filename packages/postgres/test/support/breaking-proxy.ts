import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Stands before a server, and breaks what goes through it. */
export class BreakingProxy {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #state: 'cuts' | 'holds' | 'works' = 'works';

  private constructor(targetPort: number) {
    this.#server = createServer((client) => {
      if (this.#state === 'cuts') {
        client.destroy();
        return;
      }
      const target = connect({ host: '127.0.0.1', port: targetPort });
      const pair = [client, target] as const;
      this.#pairs.add(pair);
      for (const [index, socket] of pair.entries()) {
        const other = pair[1 - index];
        socket.on('error', () => undefined);
        socket.on('data', (bytes) => other?.write(bytes));
        socket.on('end', () => other?.end());
        socket.on('close', () => {
          other?.destroy();
          this.#pairs.delete(pair);
        });
        if (this.#state === 'holds') socket.pause();
      }
    });
  }

  static async start(targetPort: number): Promise<BreakingProxy> {
    const proxy = new BreakingProxy(targetPort);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The connections that go through it now. */
  get openCount(): number {
    return this.#pairs.size;
  }

  /** Ends all connections, and each new one at once. */
  cut(): void {
    this.#state = 'cuts';
    for (const [client, target] of this.#pairs) {
      client.destroy();
      target.destroy();
    }
  }

  /** Takes connections, and passes no bytes on. */
  hold(): void {
    this.#state = 'holds';
    for (const [client, target] of this.#pairs) {
      client.pause();
      target.pause();
    }
  }

  work(): void {
    this.#state = 'works';
    for (const [client, target] of this.#pairs) {
      client.resume();
      target.resume();
    }
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
