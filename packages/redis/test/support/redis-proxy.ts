import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Stands between a client and a Redis: it cuts connections and takes no more, or holds back what both say. */
export class RedisProxy {
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #server: Server;
  #port = 0;
  #isSilent = false;

  private constructor(target: number) {
    this.#target = target;
    this.#server = this.#create();
  }

  static async start(targetPort: number): Promise<RedisProxy> {
    const proxy = new RedisProxy(targetPort);
    await proxy.#listen();
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  /** The connections of clients. */
  get count(): number {
    return this.#sockets.size / 2;
  }

  /** Cuts all connections, and refuses others until `heal`. */
  async fail(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Takes bytes and passes nothing on until `heal`. */
  hang(): void {
    this.#isSilent = true;
    for (const socket of this.#sockets) socket.pause();
  }

  async heal(): Promise<void> {
    this.#isSilent = false;
    for (const socket of this.#sockets) socket.resume();
    if (this.#server.listening) return;
    this.#server = this.#create();
    await this.#listen();
  }

  async remove(): Promise<void> {
    if (this.#server.listening) await this.fail();
  }

  #create(): Server {
    return createServer((client) => {
      const server = connect({ host: '127.0.0.1', port: this.#target });
      for (const [one, other] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(one);
        one.setNoDelay(true);
        one.on('error', () => undefined);
        one.on('data', (bytes) => {
          if (!other.write(bytes)) one.pause();
        });
        other.on('drain', () => {
          if (!this.#isSilent) one.resume();
        });
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        if (this.#isSilent) one.pause();
      }
    });
  }

  async #listen(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }
}
