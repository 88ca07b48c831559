import type { Msg } from '@nats-io/transport-node';
import { NatsFailure } from '../connection/nats-failure.ts';
import type { NatsWire } from '../connection/nats-link.ts';
import { type ConsumerInfo, type JetStreamApi, JetStreamRefusal } from '../jetstream/jetstream-api.ts';

/** A message, with what JetStream says of it. */
export interface Arrival {
  readonly message: Msg;
  /** Its number in the stream. */
  readonly seq: number;
  /** When it was written, in milliseconds of Unix time. */
  readonly writtenMs: number;
  /** Acknowledges it, and those before it. */
  readonly acknowledge: () => void;
}

/** What is asked for. */
interface PullRequest {
  readonly batch: number;
  readonly max_bytes?: number;
  readonly no_wait?: true;
  /** In nanoseconds. */
  readonly expires?: number;
}

interface Pull {
  readonly reply: string;
  left: number;
  readonly settle: (error?: Error) => void;
}

/** The server asks for acknowledgements again after so long: never while somebody works. */
const acknowledgeWithinNs = 86_400_000_000_000;
const maxTries = 5;

/**
 * A consumer of this connection's own, under the durable name. What comes is what was asked for.
 *
 * A consumer counts what it gives. When a number is missing, or it has given more than has come, somebody else has asked under
 * the same name, and the session is over: what that one got would look like messages that are gone, or as if there were none.
 */
export class PullSession {
  readonly api: JetStreamApi;
  readonly #name: string;
  readonly #inbox = `_INBOX.spillway.${crypto.randomUUID()}`;
  readonly #onArrival: (arrival: Arrival) => void;
  #pulls = 0;
  #pull: Pull | undefined;
  #pulling: Promise<void> | undefined;
  #given = 0;
  #isOver = false;

  private constructor(api: JetStreamApi, name: string, onArrival: (arrival: Arrival) => void) {
    this.api = api;
    this.#name = name;
    this.#onArrival = onArrival;
  }

  /** Makes the consumer anew: what an earlier one gave and nobody has is given again. */
  static async open(
    api: JetStreamApi,
    consumer: { readonly name: string; readonly from: number; readonly subject: string | undefined },
    onArrival: (arrival: Arrival) => void,
    signal: AbortSignal,
  ): Promise<PullSession> {
    const { from, name, subject } = consumer;
    const session = new PullSession(api, name, onArrival);
    const config = {
      deliver_policy: 'by_start_sequence',
      opt_start_seq: from,
      ack_policy: 'all',
      ack_wait: acknowledgeWithinNs,
      max_ack_pending: -1,
      max_deliver: -1,
      replay_policy: 'instant',
      ...(subject === undefined ? {} : { filter_subject: subject }),
    };
    for (let tries = 1; ; tries += 1) {
      try {
        await api.deleteConsumer(name, signal);
        await api.createConsumer(name, config, signal);
        break;
      } catch (error) {
        // A source of this name that is not used any more may have been at the same. And a server may fail to delete what it
        // writes at this moment, and has forgotten it then.
        if (!(error instanceof JetStreamRefusal) || tries === maxTries) throw error;
      }
    }
    api.wire.subscribe(`${session.#inbox}.*`, (message) => session.#take(message));
    void api.wire.lost().then(() => session.end(new NatsFailure('the connection is lost')));
    return session;
  }

  get wire(): NatsWire {
    return this.api.wire;
  }

  get isOver(): boolean {
    return this.#isOver || this.wire.isLost;
  }

  /** Asks for what is there. Resolves when it is here, and also when there is nothing. */
  ask(batch: number, maxBytes: number): Promise<void> {
    return this.#send({ batch, max_bytes: maxBytes, no_wait: true }, 0);
  }

  /** Asks for one message. Resolves when it is here, or after that time without one. */
  wait(ms: number): Promise<void> {
    return this.#send({ batch: 1, expires: ms * 1_000_000 }, ms);
  }

  /** One at a time: whoever was aborted has left one behind. */
  #send(request: PullRequest, waitMs: number): Promise<void> {
    this.#pulling ??= this.#request(request, waitMs + this.wire.answerTimeoutMs).finally(
      () => (this.#pulling = undefined),
    );
    return this.#pulling;
  }

  #request(request: PullRequest, timeoutMs: number): Promise<void> {
    if (this.isOver) return Promise.reject(new NatsFailure('the connection is lost'));
    const { promise, reject, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      void this.wire.destroy();
      reject(new NatsFailure(`no answer within ${timeoutMs} ms`));
    }, timeoutMs);
    this.#pulls += 1;
    const reply = `${this.#inbox}.${this.#pulls}`;
    this.#pull = {
      reply,
      left: request.batch,
      settle: (error) => {
        clearTimeout(timer);
        this.#pull = undefined;
        if (error === undefined) resolve();
        else reject(error);
      },
    };
    this.api.pull(this.#name, request, reply);
    // Whoever waited may be gone.
    promise.catch(() => undefined);
    return promise;
  }

  #take(message: Msg): void {
    if (this.#isOver) return;
    const pull = this.#pull;
    if (message.subject.startsWith(this.#inbox)) {
      const code = message.headers?.code ?? 0;
      if (code === 409 && /consumer deleted/i.test(message.headers?.description ?? '')) {
        this.end(new NatsFailure(`consumer ${this.#name}: it was deleted, or another source has this name`));
      } else if (code === 503) {
        this.end(new NatsFailure(`consumer ${this.#name}: nobody answers`));
      } else if (code >= 400 && message.subject === pull?.reply) pull.settle();
      return;
    }
    const place = readReply(message.reply ?? '');
    if (place === undefined || place.given !== this.#given + 1) {
      this.endForOthers();
      return;
    }
    this.#given = place.given;
    const { reply = '' } = message;
    this.#onArrival({ ...place, message, acknowledge: () => this.wire.publish(reply, '+ACK') });
    if (pull === undefined) return;
    pull.left -= 1;
    if (pull.left === 0) pull.settle();
  }

  /** The messages that its consumer has given, and not to this session: another source has asked under the same name. */
  givenToOthers({ delivered }: ConsumerInfo): number {
    return Math.max(0, delivered.consumer_seq - this.#given);
  }

  /** Ends it, because another source reads under this name. */
  endForOthers(): void {
    this.end(new NatsFailure(`consumer ${this.#name}: another source reads under this name`));
  }

  /** Ends it: another consumer of this name has to be made. */
  end(error: Error): void {
    this.#isOver = true;
    this.#pull?.settle(error);
  }
}

/** `$JS.ACK.[DOMAIN.ACCOUNT.]STREAM.CONSUMER.TIMES.SEQ.GIVEN.NANOSECONDS.PENDING[.TOKEN]` */
function readReply(reply: string): { seq: number; given: number; writtenMs: number } | undefined {
  const words = reply.split('.');
  const at = words.length > 9 ? 7 : 5;
  const [seq, given, ns = ''] = words.slice(at, at + 3);
  if (!reply.startsWith('$JS.ACK.') || !/^\d+$/.test(ns)) return undefined;
  return { seq: Number(seq), given: Number(given), writtenMs: Number(ns.slice(0, -6)) };
}
