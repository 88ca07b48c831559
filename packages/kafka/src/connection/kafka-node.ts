import { isIP, type Socket } from 'node:net';
import { type API, apiVersionsV0, Connection, ResponseError } from '@platformatic/kafka';
import { type EngineHost, shownHost } from '@spillway/core/engine';
import { orAborted } from '@spillway/core/or-aborted';
import type { KafkaAddress } from './kafka-address.ts';
import { kafkaFailure } from './kafka-failure.ts';

/** How long a connection may take, with TLS and login. */
const connectTimeoutMs = 3000;
/** How long an answer may take: longer than what a broker waits for its replicas. */
const answerTimeoutMs = 15_000;

/** One connection to one broker. Nothing is tried again and nothing waits here: who calls decides. */
export class KafkaNode {
  readonly #address: KafkaAddress;
  readonly #where: string;
  readonly #connection: Connection;
  /** The highest version of each API that the broker has, by its key. */
  #versions: ReadonlyMap<number, number> = new Map();

  private constructor(address: KafkaAddress, { host, port }: EngineHost) {
    const { login, tls } = address;
    this.#address = address;
    this.#where = shownHost({ host, port });
    this.#connection = new Connection('spillway', {
      connectTimeout: connectTimeoutMs,
      requestTimeout: answerTimeoutMs,
      // All that a caller has asked for goes out at once: callers bound what they ask for.
      maxInflights: 1000,
      ...(tls === undefined ? {} : { tls, tlsServerName: isIP(host) === 0 }),
      ...(login === undefined ? {} : { sasl: { ...login } }),
    });
    // Whoever waits is told; without a listener an error would end the process.
    this.#connection.on('error', () => undefined);
  }

  /** Connects, with TLS and login. Rejects with a {@link KafkaFailure} or the signal's reason. */
  static async open(address: KafkaAddress, host: EngineHost, signal: AbortSignal): Promise<KafkaNode> {
    const node = new KafkaNode(address, host);
    try {
      await orAborted(Promise.resolve(node.#connection.connect(host.host, host.port)), signal);
      const { apiKeys } = await node.call(apiVersionsV0.api, ['spillway', ''], signal);
      node.#versions = new Map(apiKeys.map(({ apiKey, maxVersion }) => [apiKey, maxVersion]));
      return node;
    } catch (error) {
      node.destroy();
      signal.throwIfAborted();
      throw node.#failure(error);
    }
  }

  get isConnected(): boolean {
    return this.#connection.isConnected();
  }

  /** Whether the broker has a call of that kind. */
  has(api: { readonly key: number; readonly version: number }): boolean {
    return (this.#versions.get(api.key) ?? -1) >= api.version;
  }

  /**
   * Asks, and resolves with the answer, also with one that has errors in it. Rejects with a {@link KafkaFailure} when there is
   * none; when the signal is aborted with its reason, and the connection is gone: nothing of the call is sent any more.
   */
  async call<Words extends unknown[], Answer>(
    api: API<Words, Answer>,
    words: Words,
    signal: AbortSignal,
  ): Promise<Answer> {
    signal.throwIfAborted();
    try {
      return await orAborted(api.async(this.#connection, ...words), signal);
    } catch (error) {
      if (signal.aborted) {
        this.destroy();
        throw signal.reason;
      }
      if (error instanceof ResponseError) return error['response'] as Answer;
      this.destroy();
      throw this.#failure(error);
    }
  }

  /** Ends the connection at once, and so every call that waits. */
  destroy(): void {
    // Ends its timers; by itself it would wait for what it has still to send.
    this.#connection.close().catch(() => undefined);
    // There is none before the first try to connect.
    (this.#connection.socket as Socket | undefined)?.destroy();
  }

  #failure(error: unknown): Error {
    return kafkaFailure(this.#where, error, this.#address.login?.password);
  }
}
