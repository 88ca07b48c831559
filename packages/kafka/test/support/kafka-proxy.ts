import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { Reader, readRecordsBatches, type RecordsBatch } from '@platformatic/kafka';

/** A request of a client, as it passes. */
export interface PassingRequest {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly frame: Buffer;
}

/**
 * What becomes of a request: it passes, it passes and its answer does not, it is kept back, it is answered here, or another one
 * passes and its answer is changed.
 */
export type Passage =
  | 'hold'
  | 'lose-answer'
  | 'pass'
  | Buffer
  | { readonly frame: Buffer; readonly change: (answer: Buffer) => Buffer };

/** A batch that a producer has sent. */
export interface SentBatch {
  readonly partition: number;
  readonly batch: RecordsBatch;
}

const metadata = 3;
const findCoordinator = 10;
export const produce = 0;

/** Stands before each broker of a cluster, and lets requests pass, or not. */
export class KafkaProxy {
  /** Decides what becomes of each request. */
  pass: (request: PassingRequest) => Passage | Promise<Passage> = () => 'pass';
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #upstream = new Set<Socket>();
  /** The port of the proxy, by that of its broker. */
  readonly #ports = new Map<number, number>();

  static async start(brokers: readonly string[], tls?: TlsOptions): Promise<KafkaProxy> {
    const proxy = new KafkaProxy();
    for (const broker of brokers) {
      const port = Number(broker.split(':').at(-1));
      const take = (socket: Socket): void => proxy.#take(socket, port);
      const server = tls === undefined ? createServer(take) : createTlsServer(tls, take);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      proxy.#servers.push(server);
      proxy.#ports.set(port, (server.address() as AddressInfo).port);
    }
    return proxy;
  }

  get brokers(): string {
    return [...this.#ports.values()].map((port) => `127.0.0.1:${port}`).join(',');
  }

  /** The connections that clients have open, when those that have just ended are counted no more; `least` are not waited for. */
  async openCountSoon(least = 0): Promise<number> {
    // The other end of a connection hears of its end a moment later.
    for (let look = 0; look < 100 && this.#sockets.size > least; look += 1) await sleep(10);
    return this.#sockets.size;
  }

  async end(): Promise<void> {
    for (const socket of [...this.#sockets, ...this.#upstream]) socket.destroy();
    await Promise.all(
      this.#servers.map(async (server) => {
        server.close();
        await once(server, 'close');
      }),
    );
  }

  #take(client: Socket, port: number): void {
    const broker = connect(port, '127.0.0.1');
    this.#upstream.add(broker);
    const asked = new Map<number, PassingRequest>();
    const lost = new Set<number>();
    const changes = new Map<number, (answer: Buffer) => Buffer>();
    let turn = Promise.resolve();
    this.#sockets.add(client);
    client.on('close', () => {
      this.#sockets.delete(client);
      broker.destroy();
    });
    broker.on('close', () => {
      this.#upstream.delete(broker);
      client.destroy();
    });
    client.on('error', () => undefined);
    broker.on('error', () => undefined);
    eachFrame(client, (frame) => {
      const request = {
        apiKey: frame.readInt16BE(4),
        apiVersion: frame.readInt16BE(6),
        correlationId: frame.readInt32BE(8),
        frame,
      };
      const earlier = turn;
      turn = (async () => {
        await earlier;
        const passage = await this.pass(request);
        asked.set(request.correlationId, request);
        if (Buffer.isBuffer(passage)) client.write(passage);
        else if (typeof passage === 'object') {
          changes.set(request.correlationId, passage.change);
          broker.write(passage.frame);
        } else if (passage !== 'hold') {
          if (passage === 'lose-answer') lost.add(request.correlationId);
          broker.write(frame);
        }
      })();
    });
    eachFrame(broker, (frame) => {
      const correlationId = frame.readInt32BE(4);
      const request = asked.get(correlationId);
      asked.delete(correlationId);
      if (request !== undefined) this.#rewrite(request, frame);
      if (lost.has(correlationId)) client.destroy();
      else client.write(changes.get(correlationId)?.(frame) ?? frame);
      changes.delete(correlationId);
    });
  }

  /** Puts the proxy's ports where brokers name their own. */
  #rewrite({ apiKey, apiVersion }: PassingRequest, frame: Buffer): void {
    let at = 8;
    const skipText = (): void => {
      at += 2 + Math.max(0, frame.readInt16BE(at));
    };
    const rewritePort = (): void => {
      frame.writeInt32BE(this.#ports.get(frame.readInt32BE(at)) ?? frame.readInt32BE(at), at);
      at += 4;
    };
    if (apiKey === metadata) {
      if (apiVersion >= 3) at += 4;
      const count = frame.readInt32BE(at);
      at += 4;
      for (let broker = 0; broker < count; broker += 1) {
        at += 4;
        skipText();
        rewritePort();
        skipText();
      }
    } else if (apiKey === findCoordinator) {
      at += 6;
      skipText();
      at += 4;
      skipText();
      rewritePort();
    }
  }
}

/** The batches of a request to write. */
export function batchesOf(request: PassingRequest): SentBatch[] {
  return partitionsOf(request).flatMap(({ bytes, partition }) =>
    readRecordsBatches(Reader.from(bytes)).map((batch) => ({ partition, batch })),
  );
}

/** How large those are. */
export function batchSizesOf(request: PassingRequest): number[] {
  return partitionsOf(request).map(({ bytes }) => bytes.length);
}

/** Refuses all of some partitions of a request to write, as brokers do; the others pass. */
export function refuse(request: PassingRequest, refused: ReadonlySet<number>, code: number): Passage {
  const partitions = partitionsOf(request);
  const others = partitions.filter(({ partition }) => !refused.has(partition));
  const answers = Buffer.concat(
    partitions
      .filter(({ partition }) => refused.has(partition))
      .map(({ partition }) => {
        const answer = Buffer.alloc(30, 0xff);
        answer.writeInt32BE(partition, 0);
        answer.writeInt16BE(code, 4);
        return answer;
      }),
  );
  const { frame } = request;
  const [head, topic] = headOf(frame);
  if (others.length === 0)
    return answerTo(request, Buffer.concat([int32(1), topic, int32(refused.size), answers, int32(0)]));
  const body = Buffer.concat([
    frame.subarray(4, head),
    int32(1),
    topic,
    int32(others.length),
    ...others.flatMap(({ bytes, partition }) => [int32(partition), int32(bytes.length), bytes]),
  ]);
  return {
    frame: Buffer.concat([int32(body.length), body]),
    change: (answer) => {
      // Behind its length, its number, the one topic and that one’s name.
      const at = 12 + topic.length;
      const count = answer.readInt32BE(at) + refused.size;
      const rest = answer.subarray(at + 4, -4);
      const changed = Buffer.concat([answer.subarray(4, at), int32(count), rest, answers, int32(0)]);
      return Buffer.concat([int32(changed.length), changed]);
    },
  };
}

/** Where the topics of a request to write begin, and the name of the first with its length. */
function headOf(frame: Buffer): [at: number, topic: Buffer] {
  const clientId = 12;
  const transaction = clientId + 2 + Math.max(0, frame.readInt16BE(clientId));
  const topics = transaction + 2 + Math.max(0, frame.readInt16BE(transaction)) + 6;
  return [topics, frame.subarray(topics + 4, topics + 6 + frame.readInt16BE(topics + 4))];
}

function partitionsOf({ frame }: PassingRequest): { partition: number; bytes: Buffer }[] {
  const [head, topic] = headOf(frame);
  let at = head + 4 + topic.length;
  const count = frame.readInt32BE(at);
  at += 4;
  return Array.from({ length: count }, () => {
    const partition = frame.readInt32BE(at);
    const length = frame.readInt32BE(at + 4);
    const bytes = frame.subarray(at + 8, at + 8 + length);
    at += 8 + length;
    return { partition, bytes };
  });
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** The frame of an answer. */
export function answerTo({ correlationId }: PassingRequest, body: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeInt32BE(body.length + 4, 0);
  head.writeInt32BE(correlationId, 4);
  return Buffer.concat([head, body]);
}

function eachFrame(socket: Socket, take: (frame: Buffer) => void): void {
  let waiting = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    waiting = Buffer.concat([waiting, chunk]);
    while (waiting.length >= 4 && waiting.length >= 4 + waiting.readInt32BE(0)) {
      const length = 4 + waiting.readInt32BE(0);
      take(Buffer.from(waiting.subarray(0, length)));
      waiting = waiting.subarray(length);
    }
  });
}
