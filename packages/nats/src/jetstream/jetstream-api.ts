import { randomUUID } from 'node:crypto';
import { headers as newHeaders, type MsgHdrs } from '@nats-io/transport-node';
import { NatsFailure } from '../connection/nats-failure.ts';
import type { NatsWire } from '../connection/nats-link.ts';

/** JetStream has answered that it will not. */
export class JetStreamRefusal extends NatsFailure {
  /** JetStream's own number of the error. */
  readonly number: number;

  constructor(what: string, number: number, description: string) {
    super(`${what}: ${description} (JetStream ${number})`);
    this.number = number;
  }
}

export const streamNotFound = 10_059;
export const consumerNotFound = 10_014;
const noMessageFound = 10_037;
export const wrongLastSequence = 10_071;
export const streamNameInUse = 10_058;

/** The part of a stream's configuration that is looked at. Times are in nanoseconds. */
export interface StreamConfig {
  readonly name: string;
  readonly subjects?: readonly string[];
  readonly retention: string;
  readonly storage: string;
  readonly discard: string;
  readonly num_replicas: number;
  readonly max_msgs: number;
  readonly max_bytes: number;
  readonly max_age: number;
  readonly max_msgs_per_subject?: number;
  readonly max_msg_size?: number;
  readonly duplicate_window?: number;
  readonly no_ack?: boolean;
  readonly sealed?: boolean;
  readonly mirror?: unknown;
}

/** How a stream is made. */
export interface StreamCreation extends Partial<StreamConfig> {
  readonly name: string;
  readonly max_consumers: number;
  readonly allow_rollup_hdrs?: boolean;
  readonly deny_delete?: boolean;
}

export interface StreamInfo {
  readonly config: StreamConfig;
  readonly created: string;
  readonly state: { readonly first_seq: number; readonly last_seq: number; readonly messages: number };
}

export interface ConsumerInfo {
  readonly config: { readonly filter_subject?: string };
  readonly delivered: { readonly stream_seq: number; readonly consumer_seq: number };
  readonly ack_floor: { readonly stream_seq: number };
  readonly num_ack_pending: number;
  readonly num_pending: number;
}

/** A message as it is kept. */
export interface StoredMessage {
  readonly subject: string;
  readonly seq: number;
  /** Base 64. */
  readonly hdrs?: string;
  /** Base 64. */
  readonly data?: string;
  readonly time: string;
}

interface Answer {
  readonly error?: { readonly err_code?: number; readonly code?: number; readonly description?: string };
}

/**
 * The calls of JetStream, over one connection. They are requests with JSON in them; the client's own package for them tries
 * again by itself and has timeouts of its own, and here each call happens once.
 */
export class JetStreamApi {
  readonly wire: NatsWire;
  readonly stream: string;
  readonly #prefix: string;

  constructor(wire: NatsWire, stream: string, domain: string | undefined) {
    this.wire = wire;
    this.stream = stream;
    this.#prefix = domain === undefined ? '$JS.API' : `$JS.${domain}.API`;
  }

  async createStream(config: StreamCreation, signal: AbortSignal): Promise<void> {
    await this.#call(`STREAM.CREATE.${config.name}`, config, signal);
  }

  /** The streams that have some subject of a pattern. */
  async streamsOf(subject: string, signal: AbortSignal): Promise<readonly string[]> {
    const answer = await this.#call('STREAM.NAMES', { subject }, signal);
    return (answer as { readonly streams: readonly string[] | null }).streams ?? [];
  }

  async streamInfo(signal: AbortSignal): Promise<StreamInfo> {
    return (await this.#call(`STREAM.INFO.${this.stream}`, {}, signal)) as StreamInfo;
  }

  /**
   * Asks the stream's leader for a message: the last one of a subject, or the first from a number on. `undefined`: there is
   * none.
   */
  async message(
    which: { readonly last_by_subj: string } | { readonly next_by_subj: string; readonly seq: number },
    signal: AbortSignal,
    stream = this.stream,
  ): Promise<StoredMessage | undefined> {
    try {
      const answer = await this.#call(`STREAM.MSG.GET.${stream}`, which, signal);
      return (answer as { readonly message: StoredMessage }).message;
    } catch (error) {
      if (error instanceof JetStreamRefusal && error.number === noMessageFound) return undefined;
      throw error;
    }
  }

  async consumerInfo(name: string, signal: AbortSignal): Promise<ConsumerInfo> {
    return (await this.#call(`CONSUMER.INFO.${this.stream}.${name}`, {}, signal)) as ConsumerInfo;
  }

  async createConsumer(name: string, config: object, signal: AbortSignal): Promise<void> {
    await this.#call(
      `CONSUMER.DURABLE.CREATE.${this.stream}.${name}`,
      { stream_name: this.stream, config: { durable_name: name, ...config } },
      signal,
    );
  }

  async deleteConsumer(name: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#call(`CONSUMER.DELETE.${this.stream}.${name}`, {}, signal);
    } catch (error) {
      if (!(error instanceof JetStreamRefusal) || error.number !== consumerNotFound) throw error;
    }
  }

  /** Asks the consumer for messages, which come to `reply`. */
  pull(name: string, request: object, reply: string): void {
    this.wire.publish(
      `${this.#prefix}.CONSUMER.MSG.NEXT.${this.stream}.${name}`,
      JSON.stringify(request),
      reply,
    );
  }

  /** Publishes, and resolves with the number of the message and whether JetStream knows its id already. */
  async publish(
    subject: string,
    data: Uint8Array,
    headers: MsgHdrs,
    signal: AbortSignal,
  ): Promise<{ readonly seq: number; readonly isDuplicate: boolean }> {
    const answer = readAnswer(subject, (await this.wire.request(subject, data, signal, headers)).string());
    const { duplicate = false, seq } = answer as { readonly seq: number; readonly duplicate?: boolean };
    return { seq, isDuplicate: duplicate };
  }

  /**
   * Whether the user may do what a sink does: look for the last message of a subject, and publish to it. What is published for
   * that names another stream as the one that it is for, so that JetStream refuses it after the server has let it through.
   *
   * @throws {NatsFailure} when it may not.
   */
  async expectRights(prefix: string, signal: AbortSignal): Promise<void> {
    // Nobody can have been granted this one by its name.
    const subject = `${prefix}.spillway-check-${randomUUID()}`;
    const refusing = newHeaders();
    // Also a stream of another account, which may get the same subjects, has another name.
    refusing.set('Nats-Expected-Stream', `spillway-check-${randomUUID()}`);
    refusing.set('Nats-Expected-Last-Sequence', String(Number.MAX_SAFE_INTEGER));
    try {
      await this.message({ last_by_subj: subject }, signal);
      await this.publish(subject, new Uint8Array(), refusing, signal);
    } catch (error) {
      if (error instanceof JetStreamRefusal) return;
      if (!(error instanceof NatsFailure) || !error.isDenied) throw error;
      const rights = `${prefix}.* and ${this.#prefix}.STREAM.MSG.GET.${this.stream}`;
      throw new NatsFailure(`${error.message}: let the user publish to ${rights}`, true);
    }
  }

  async #call(what: string, body: object, signal: AbortSignal): Promise<unknown> {
    const answer = await this.wire.request(`${this.#prefix}.${what}`, JSON.stringify(body), signal);
    return readAnswer(what, answer.string());
  }
}

function readAnswer(what: string, text: string): unknown {
  let answer: Answer;
  try {
    answer = JSON.parse(text) as Answer;
  } catch {
    throw new NatsFailure(`${what}: expected JSON from JetStream, got something else`);
  }
  const { error } = answer;
  if (error === undefined) return answer;
  throw new JetStreamRefusal(
    what,
    error.err_code ?? error.code ?? 0,
    error.description ?? 'it does not say why',
  );
}

/** Reads headers as a stored message has them. */
export function headersOf({ hdrs }: StoredMessage): ReadonlyMap<string, string> {
  const lines = hdrs === undefined ? [] : Buffer.from(hdrs, 'base64').toString().split('\r\n');
  return new Map(
    lines.flatMap((line) => {
      const colon = line.indexOf(':');
      return colon === -1 ? [] : [[line.slice(0, colon), line.slice(colon + 1).trim()] as const];
    }),
  );
}
