import {
  connect,
  credsAuthenticator,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type NodeConnectionOptions,
  nkeyAuthenticator,
  NoRespondersError,
  type Subscription,
  TimeoutError,
} from '@nats-io/transport-node';
import { orAborted } from '@spillway/core/or-aborted';
import { hearFirstWord } from './first-word.ts';
import { type NatsAddress, natsUrls, readFileOf, shownAddress } from './nats-address.ts';
import { NatsFailure, natsFailure, NobodyAnswers } from './nats-failure.ts';

/**
 * The way to a NATS: one connection at a time, made when it is wanted. The client's own reconnecting is off, because it
 * keeps what is sent meanwhile: without a connection nothing is sent, and nothing waits.
 */
export class NatsLink {
  readonly #address: NatsAddress;
  readonly #options: NodeConnectionOptions;
  readonly #timeoutMs: number;
  readonly #answerTimeoutMs: number;
  readonly #closing = new AbortController();
  #wire: NatsWire | undefined;
  #dialing: Promise<NatsWire> | undefined;

  /** @throws {SpillwayError} `invalid_option` for a file that cannot be read. */
  constructor(address: NatsAddress, timeoutMs: number) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
    this.#answerTimeoutMs = natsUrls.whole(address.query, 'timeoutMs', 1, 600_000) ?? 5000;
    const tls = {
      ...fileAs('ca', readFileOf(address, 'tlsca')),
      ...fileAs('cert', readFileOf(address, 'tlscert')),
      ...fileAs('key', readFileOf(address, 'tlskey')),
    };
    const creds = readFileOf(address, 'creds');
    const nkey = readFileOf(address, 'nkey');
    this.#options = {
      name: 'spillway',
      reconnect: false,
      timeout: timeoutMs,
      noAsyncTraces: true,
      ...(address.isTls || Object.keys(tls).length > 0 ? { tls } : {}),
      ...(address.user === undefined ? {} : { user: address.user }),
      ...(address.password === undefined ? {} : { pass: address.password }),
      ...(address.token === undefined ? {} : { token: address.token }),
      ...(creds === undefined ? {} : { authenticator: credsAuthenticator(creds) }),
      ...(nkey === undefined
        ? {}
        : { authenticator: nkeyAuthenticator(Buffer.from(nkey.toString().trim())) }),
    };
  }

  /** The connection that there is, or a new one. Rejects with a {@link NatsFailure}, or the signal's reason. */
  async connected(signal: AbortSignal): Promise<NatsWire> {
    signal.throwIfAborted();
    if (this.#wire !== undefined && !this.#wire.isLost) return this.#wire;
    this.#dialing ??= this.#dial().finally(() => (this.#dialing = undefined));
    return orAborted(this.#dialing, signal);
  }

  /** Whatever was thrown, for people. */
  failure(error: unknown): NatsFailure {
    const { password, token } = this.#address;
    return natsFailure(shownAddress(this.#address), error, [password, token]);
  }

  /** Resolves when no connection is open, and none is made. */
  async close(): Promise<void> {
    this.#closing.abort(new NatsFailure('it was closed'));
    await this.#dialing?.catch(() => undefined);
    await this.#wire?.destroy();
  }

  async #dial(): Promise<NatsWire> {
    const limit = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.#timeoutMs)]);
    const first = Math.floor(Math.random() * this.#address.servers.length);
    let problem: unknown;
    // One after the other, from any of them on: a cluster's clients should not all have the same server.
    for (const server of [...this.#address.servers.slice(first), ...this.#address.servers.slice(0, first)]) {
      try {
        await hearFirstWord(server, AbortSignal.any([limit, AbortSignal.timeout(this.#timeoutMs / 2)]));
        limit.throwIfAborted();
        const wire = new NatsWire(
          await connect({ ...this.#options, servers: [server] }),
          this,
          this.#answerTimeoutMs,
        );
        this.#wire = wire;
        if (this.#closing.signal.aborted) await wire.destroy();
        return wire;
      } catch (error) {
        problem = error;
        if (limit.aborted) break;
      }
    }
    const isLate = problem instanceof DOMException && problem.name === 'TimeoutError';
    throw this.failure(isLate ? new Error(`no answer within ${this.#timeoutMs} ms`) : problem);
  }
}

/** One connection. When it is lost it stays so, and all that waits for it rejects. */
export class NatsWire {
  /** How long an answer may take. A server that is silent for longer loses its connection. */
  readonly answerTimeoutMs: number;
  readonly #link: NatsLink;
  readonly #client: NatsConnection;
  #isLost = false;

  constructor(client: NatsConnection, link: NatsLink, answerTimeoutMs: number) {
    this.answerTimeoutMs = answerTimeoutMs;
    this.#client = client;
    this.#link = link;
    void client.closed().then(() => (this.#isLost = true));
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  get version(): string {
    return this.#client.info?.version ?? 'of an unknown version';
  }

  /** Whether the server keeps streams by itself, so that none has more than one replica. */
  get isAlone(): boolean {
    const { info } = this.#client;
    return info?.jetstream === true && info.cluster === undefined;
  }

  /** The largest message that the server takes, with its headers. */
  get maxPayloadBytes(): number {
    return this.#client.info?.max_payload ?? 1_048_576;
  }

  /**
   * Sends, and resolves with the answer. Rejects with a {@link NatsFailure}, at the latest after `answerTimeoutMs`, or
   * with the signal's reason.
   */
  async request(
    subject: string,
    data: string | Uint8Array,
    signal: AbortSignal,
    headers?: MsgHdrs,
  ): Promise<Msg> {
    signal.throwIfAborted();
    if (this.#isLost) throw this.#link.failure(new Error('the connection is lost'));
    // The time goes on when nobody waits any more: the server has to answer.
    const answer = this.#client
      .request(subject, data, {
        timeout: this.answerTimeoutMs,
        ...(headers === undefined ? {} : { headers }),
      })
      .catch((error: unknown) => {
        if (error instanceof TimeoutError) void this.destroy();
        const failure = this.#link.failure(this.#readable(error));
        throw isUnanswered(error) ? new NobodyAnswers(failure.message) : failure;
      });
    return orAborted(answer, signal);
  }

  /** Sends, and waits for nothing. */
  publish(subject: string, data: string, reply?: string): void {
    if (!this.#isLost) this.#client.publish(subject, data, reply === undefined ? {} : { reply });
  }

  subscribe(subject: string, onMessage: (message: Msg) => void): Subscription {
    return this.#client.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) onMessage(message);
        else void this.destroy();
      },
    });
  }

  /** Resolves when the connection is lost. */
  lost(): Promise<unknown> {
    return this.#client.closed();
  }

  /** Ends it at once: what was sent and has not left this machine is gone. */
  async destroy(): Promise<void> {
    this.#isLost = true;
    await this.#client.close();
  }

  #readable(error: unknown): unknown {
    if (error instanceof TimeoutError) return new Error(`no answer within ${this.answerTimeoutMs} ms`);
    if (isUnanswered(error))
      return new Error(
        'nobody answers: the stream is gone, JetStream is not enabled, or its cluster elects a leader',
      );
    return causeOf(error);
  }
}

function isUnanswered(error: unknown): boolean {
  return causeOf(error) instanceof NoRespondersError;
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? (error.cause ?? error) : error;
}

function fileAs<Name extends string>(
  name: Name,
  content: Buffer | undefined,
): { readonly [key in Name]?: string } {
  return content === undefined ? {} : ({ [name]: content.toString() } as { [key in Name]: string });
}
