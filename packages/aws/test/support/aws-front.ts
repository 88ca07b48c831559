import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A request on its way to the engine: its target and its body. */
interface FrontRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: Buffer;
}

/** What came back. */
interface FrontAnswer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: Buffer;
}

/** Takes a request by itself, or changes what the engine answers. */
export type Intercept = (
  request: FrontRequest,
  forward: (request: FrontRequest) => Promise<FrontAnswer>,
) => Promise<FrontAnswer>;

/**
 * Stands before an engine on a real socket, and breaks it. `fail`: connections are cut, also those whose request is at
 * the engine already. `hang`: requests are held, and reach the engine late, when it is healed, whoever has gone.
 */
export class AwsFront {
  readonly #server: Server;
  readonly #target: number;
  #state: 'fails' | 'hangs' | 'works' = 'works';
  #healed = Promise.withResolvers<void>();
  #late = new Set<Promise<unknown>>();
  intercept: Intercept = (asked, forward) => forward(asked);
  /** How long each answer takes. */
  delayMs = 0;
  requests = 0;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((asked, answer) => {
      this.#answer(asked, answer).catch(() => answer.destroy());
    });
    this.#server.keepAliveTimeout = 60_000;
  }

  static async start(target: number): Promise<AwsFront> {
    const front = new AwsFront(target);
    front.#server.listen(0, '127.0.0.1');
    await once(front.#server, 'listening');
    return front;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  fail(): void {
    this.#state = 'fails';
    this.#server.closeAllConnections();
  }

  hang(): void {
    this.#state = 'hangs';
    this.#healed = Promise.withResolvers();
  }

  async heal(): Promise<void> {
    this.#state = 'works';
    this.#healed.resolve();
    await Promise.allSettled(this.#late);
  }

  /** Connections that are open when those that close have closed. */
  async openCount(): Promise<number> {
    const count = (): Promise<number> =>
      new Promise((resolve, reject) => {
        this.#server.getConnections((error, open) => (error ? reject(error) : resolve(open)));
      });
    for (let round = 0; round < 100 && (await count()) > 0; round += 1) await sleep(10);
    return count();
  }

  /** Without waiting for what it holds. */
  async close(): Promise<void> {
    this.cut();
    await once(this.#server, 'close');
  }

  cut(): void {
    this.#healed.resolve();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of asked) pieces.push(piece as Buffer);
    this.requests += 1;
    if (this.#state === 'fails') {
      answer.destroy();
      return;
    }
    if (this.delayMs > 0) await sleep(this.delayMs);
    const { headers, method = 'GET', url: path = '/' } = asked;
    const sent = { method, path, headers, body: Buffer.concat(pieces) };
    const work = (async () => {
      if (this.#state === 'hangs') await this.#healed.promise;
      return this.intercept(sent, (changed) => forwarded(this.#target, changed));
    })();
    this.#late.add(work);
    const came = await work.finally(() => this.#late.delete(work));
    // It was cut meanwhile: what was asked is done, and nobody hears of it.
    if (answer.destroyed) return;
    answer.writeHead(came.status, came.headers);
    answer.end(came.body);
  }
}

/** Sends a request to a port of loopback. */
async function forwarded(port: number, { body, headers, method, path }: FrontRequest): Promise<FrontAnswer> {
  const { host: _host, 'transfer-encoding': _coding, connection: _connection, ...others } = headers;
  const asked = request({
    host: '127.0.0.1',
    port,
    method,
    path,
    headers: { ...others, 'content-length': body.length },
    agent: false,
  });
  asked.end(body);
  const [came] = (await once(asked, 'response')) as [IncomingMessage];
  const pieces: Buffer[] = [];
  for await (const piece of came) pieces.push(piece as Buffer);
  const { connection: _kept, 'keep-alive': _alive, 'transfer-encoding': _chunked, ...told } = came.headers;
  return { status: came.statusCode ?? 500, headers: told, body: Buffer.concat(pieces) };
}
