import { DeleteMessageBatchCommand, type Message, ReceiveMessageCommand } from '@aws-sdk/client-sqs';
import { SpillwayError } from '@spillway/core';
import { expectWhole } from '@spillway/core/invalid';
import { orAborted } from '@spillway/core/or-aborted';
import {
  type ReadLimits,
  RecordGap,
  type RecordSource,
  type SourceItem,
  type SourceLag,
} from '@spillway/core/source/record-source';
import { checkOptions } from '../service/service-url.ts';
import { serviceFailure } from '../service/service-failure.ts';
import { type HeldMessage, HeldMessages, inBatches } from './held-messages.ts';
import { MessageOrder, type ReceivedRecord } from './message-order.ts';
import { decodePart } from './sqs-message.ts';
import { openQueue, type SqsQueue } from './sqs-queue.ts';

const maxReceive = 10;
const longPollSeconds = 20;
const deletesAtOnce = 8;
const closeTimeoutMs = 2000;

/** A message of another program. */
export interface SqsMessage {
  readonly body: string;
  /** Its string and number attributes. */
  readonly attributes: ReadonlyMap<string, string>;
  /** How many times it was received, this time included, as SQS counts. */
  readonly receiveCount: number;
}

/** How a queue is read. */
export interface SqsSourceOptions {
  /** As of the sink: `sqs://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE`, with `region=` and `endpoint=`. */
  readonly url: string;
  /** How long the opening may take, in milliseconds: 1 to 2^31 − 1. Default: 5000. */
  readonly openTimeoutMs?: number;
  /**
   * For how long SQS gives a message to nobody else, in milliseconds, whole seconds from 1000 to 43,200,000. While a record is in hand that
   * is said again each third of it, so that it is how long a record of a process that has died is not read. Default: 30,000.
   */
  readonly visibilityMs?: number;
  /**
   * For how long that is said of one message, in milliseconds: `visibilityMs` to 43,200,000. Then SQS gives it to whoever asks. Default:
   * an hour, or `visibilityMs` if that is more.
   */
  readonly maxHoldMs?: number;
  /** The stream of messages that no sink of ours has written: letters, digits, `_`, `-`. Default: the queue's name, others as `-`. */
  readonly stream?: string;
  /** The value of such a message. Default: its body in UTF-8. One that throws rejects the read, and the message comes again. */
  readonly decode?: (message: SqsMessage) => Uint8Array;
}

/**
 * Opens a queue of SQS to read it. A queue has one place for all: several sources share its records, and who needs all has a
 * queue of its own (SNS fills several).
 *
 * A read receives as many messages as it may give, in calls of 10. What it gave stays in the queue until it is acknowledged, and
 * SQS is told meanwhile that it is in hand. A FIFO queue gives nothing more of a stream while something of it is in hand: acknowledge a read
 * before the next, as `copyRecords` does. Within a stream a FIFO queue keeps the order; a standard queue does not, and
 * may give what was acknowledged once more. SQS removes old messages without a word: there are no gaps.
 *
 * Messages of other programs are given, too, as records of one stream. Their numbers ascend with the time and are no ids: one that comes again has
 * another.
 *
 * The lag counts messages as SQS does, approximately, parts by themselves. Its age is that of the oldest in hand; of what
 * was not received yet it is the age of what was received last.
 *
 * @throws {SpillwayError} `invalid_option` for a wrong option; `source_failed` when the queue cannot be reached.
 * @example
 * ```ts
 * import { openSqsSource } from '@spillway/aws';
 * import { copyRecords } from '@spillway/core/copy-records';
 *
 * const stop = new AbortController();
 * process.once('SIGTERM', () => stop.abort());
 * const source = await openSqsSource({ url: 'sqs://sqs.eu-central-1.amazonaws.com/123456789012/llm.fifo' });
 * const index = { write: async (records: readonly { value: Uint8Array }[]) => console.log(records.length) };
 * await copyRecords(source, index, { signal: stop.signal });
 * await source.close();
 * ```
 */
export async function openSqsSource(options: SqsSourceOptions): Promise<RecordSource> {
  checkOptions(options);
  const { decode, maxHoldMs, openTimeoutMs = 5000, stream, url, visibilityMs = 30_000 } = options;
  expectWhole('visibilityMs', visibilityMs / 1000, 1, 43_200);
  const holdMs = maxHoldMs ?? Math.max(3_600_000, visibilityMs);
  expectWhole('maxHoldMs', holdMs, visibilityMs, 43_200_000);
  if (stream !== undefined && !/^[\w-]{1,128}$/.test(stream))
    throw new SpillwayError('invalid_option', 'stream: expected 1 to 128 of A-Z a-z 0-9 _ -.');
  const { queue } = await openQueue(url, 'source_failed', openTimeoutMs);
  const held = new HeldMessages(queue, visibilityMs, holdMs);
  return new SqsSource(queue, held, {
    visibilitySeconds: visibilityMs / 1000,
    stream: stream ?? queue.name.replaceAll(/[^\w-]/g, '-'),
    decode: decode ?? (({ body }) => Buffer.from(body)),
  });
}

interface Reading {
  readonly visibilitySeconds: number;
  readonly stream: string;
  readonly decode: (message: SqsMessage) => Uint8Array;
}

class SqsSource implements RecordSource {
  readonly #queue: SqsQueue;
  readonly #held: HeldMessages;
  readonly #options: Reading;
  readonly #order = new MessageOrder();
  /** Received, and not given. */
  readonly #ready: ReceivedRecord[] = [];
  /** Given, and not acknowledged, in the order in which they were. */
  readonly #given: ReceivedRecord[] = [];
  /** Only of items that somebody still has. */
  readonly #done = new WeakSet<SourceItem>();
  /** Of records that came twice. */
  readonly #known = new Set<HeldMessage>();
  readonly #closing = new AbortController();
  /** The call that is under way, also when the read that began it was aborted: what it brings is there for the next one. */
  #receiving: Promise<number> | undefined;
  #closed: Promise<void> | undefined;
  #lastSentMs = Date.now();
  #lastSeq = 0;

  constructor(queue: SqsQueue, held: HeldMessages, options: Reading) {
    this.#queue = queue;
    this.#held = held;
    this.#options = options;
  }

  async read(limits: ReadLimits, signal: AbortSignal): Promise<readonly SourceItem[]> {
    const { maxBytes = 1_048_576, maxItems } = limits;
    expectWhole('maxItems', maxItems, 1, 10_000);
    expectWhole('maxBytes', maxBytes, 1, Number.MAX_SAFE_INTEGER);
    return this.#call('A read of', signal, async () => {
      await this.#deleteKnown(signal);
      const items: ReceivedRecord[] = [];
      let bytes = 0;
      for (;;) {
        const [next] = this.#ready;
        const nextBytes = next?.record.value.byteLength ?? 0;
        if (items.length === maxItems || (items.length > 0 && bytes + nextBytes > maxBytes)) break;
        if (next !== undefined) {
          this.#ready.shift();
          items.push(next);
          bytes += nextBytes;
          continue;
        }
        const isEmpty = items.length === 0;
        const seconds = isEmpty ? longPollSeconds : 0;
        // What is there already is given, whatever becomes of the call for more.
        const receiving = this.#receive(Math.min(maxReceive, maxItems - items.length), seconds);
        const received = await (isEmpty
          ? this.#unlessEnded(receiving, signal)
          : this.#orNone(receiving, signal));
        if (!isEmpty && received === 0) break;
      }
      this.#given.push(...items);
      return items.map(({ record }) => record);
    });
  }

  async acknowledge(items: readonly SourceItem[], signal: AbortSignal): Promise<void> {
    this.#expectOpen(signal);
    let count = 0;
    for (const item of items) {
      if (this.#done.has(item)) continue;
      if (item instanceof RecordGap || this.#given[count]?.record !== item)
        throw new SpillwayError(
          'invalid_option',
          'items: expected those that were read, from the first that is not acknowledged, without leaving one out.',
        );
      count += 1;
    }
    await this.#call('An acknowledgement to', signal, async () => {
      await this.#delete(
        this.#given.slice(0, count).flatMap(({ messages }) => messages),
        signal,
      );
      for (const { record } of this.#given.splice(0, count)) this.#done.add(record);
    });
  }

  lag(signal: AbortSignal): Promise<SourceLag> {
    return this.#call('The lag of', signal, async () => {
      const records = await this.#unlessEnded(this.#queue.count(this.#queue.name, signal), signal);
      const oldestMs = this.#held.oldestSentMs ?? this.#lastSentMs;
      return { records, bytes: undefined, ms: records === 0 ? 0 : Math.max(0, Date.now() - oldestMs) };
    });
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      this.#closing.abort();
      await this.#receiving?.catch(() => undefined);
      await this.#held.close(closeTimeoutMs);
      this.#queue.client.destroy();
    })();
    return this.#closed;
  }

  /** Receives messages into what is ready. Resolves with how many came. */
  #receive(count: number, waitSeconds: number): Promise<number> {
    this.#receiving ??= (async () => {
      const command = new ReceiveMessageCommand({
        QueueUrl: this.#queue.url,
        MaxNumberOfMessages: count,
        WaitTimeSeconds: waitSeconds,
        VisibilityTimeout: this.#options.visibilitySeconds,
        MessageAttributeNames: ['All'],
        MessageSystemAttributeNames: ['ApproximateReceiveCount', 'SentTimestamp'],
      });
      const { Messages = [] } = await this.#queue.connections.onceMore(
        () => this.#queue.client.send(command, { abortSignal: this.#closing.signal }),
        this.#closing.signal,
      );
      for (const message of Messages) this.#add(message);
      return Messages.length;
    })().finally(() => {
      this.#receiving = undefined;
    });
    return this.#receiving;
  }

  #add(message: Message): void {
    const part = decodePart(message) ?? this.#foreign(message);
    const held = this.#held.add(message);
    if (held === undefined) return;
    this.#lastSentMs = held.sentMs;
    const { dropped, known, records } = this.#order.add(part, held);
    this.#ready.push(...records);
    for (const again of known) this.#known.add(again);
    for (const lost of [...dropped, ...this.#order.dropOlder((other) => this.#held.isOver(other))])
      this.#held.remove(lost);
  }

  /** Whole, with a number that is higher than all before it, also those of earlier sources. */
  #foreign({
    Attributes,
    Body: body = '',
    MessageAttributes = {},
  }: Message): ReturnType<typeof decodePart> & object {
    const { decode, stream } = this.#options;
    const texts = Object.entries(MessageAttributes).map(
      ([name, { StringValue = '' }]) => [name, StringValue] as const,
    );
    const receiveCount = Number(Attributes?.ApproximateReceiveCount ?? 1);
    const value = decode({ body, attributes: new Map(texts), receiveCount });
    this.#lastSeq = Math.max(this.#lastSeq + 1, Date.now() * 4096);
    return { stream, seq: this.#lastSeq, part: 0, parts: 1, value };
  }

  async #deleteKnown(signal: AbortSignal): Promise<void> {
    const known = [...this.#known];
    if (known.length === 0) return;
    await this.#delete(known, signal);
    for (const message of known) this.#known.delete(message);
  }

  async #delete(messages: readonly HeldMessage[], signal: AbortSignal): Promise<void> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    const deleting = inBatches(messages, deletesAtOnce, async (batch) => {
      const command = new DeleteMessageBatchCommand({
        QueueUrl: this.#queue.url,
        Entries: batch.map(({ receipt }, index) => ({ Id: String(index), ReceiptHandle: receipt })),
      });
      const { Failed = [] } = await this.#queue.connections.onceMore(
        () => this.#queue.client.send(command, { abortSignal: ended }),
        ended,
      );
      // A receipt that is too old: SQS has given the message to somebody else. If it comes again to this source, it is known.
      const failed = Failed.find(({ SenderFault }) => SenderFault !== true);
      if (failed !== undefined) throw new Error(`${failed.Code ?? 'unknown'} for a message`);
    });
    await this.#unlessEnded(deleting, signal);
    for (const message of messages) this.#held.remove(message);
  }

  /** Does a call, with errors as the port has them. */
  async #call<Value>(what: string, signal: AbortSignal, work: () => Promise<Value>): Promise<Value> {
    this.#expectOpen(signal);
    try {
      return await work();
    } catch (error) {
      this.#expectOpen(signal);
      throw serviceFailure('source_failed', `${what} the queue ${this.#queue.address}`, error);
    }
  }

  /** Rejects when the signal is aborted or the source is closed, whatever the promise does. */
  #unlessEnded<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
    return orAborted(promise, AbortSignal.any([signal, this.#closing.signal]));
  }

  /** Nothing came, if it failed or the signal is aborted. */
  #orNone(promise: Promise<number>, signal: AbortSignal): Promise<number> {
    return this.#unlessEnded(promise, signal).catch(() => 0);
  }

  #expectOpen(signal: AbortSignal): void {
    if (this.#closing.signal.aborted)
      throw new SpillwayError(
        'source_closed',
        `This source of the queue ${this.#queue.address} is closed. Open another one.`,
      );
    signal.throwIfAborted();
  }
}
