import { SendMessageBatchCommand } from '@aws-sdk/client-sqs';
import { type SinkRecord, SpillwayError } from '@spillway/core';
import {
  type EngineFacts,
  type EngineSink,
  type EngineSinkOptions,
  GradeAge,
  type GroupLag,
  RefusedRecords,
} from '@spillway/core/engine';
import { orAborted } from '@spillway/core/or-aborted';
import { expectRecords } from '@spillway/core/sink/expect-records';
import { WriteTurn } from '@spillway/core/sink/write-turn';
import { checkOptions } from '../service/service-url.ts';
import { KeptNumbers } from '../service/kept-numbers.ts';
import { serviceFailure } from '../service/service-failure.ts';
import { encodePart, idOf, maxValueBytes } from './sqs-message.ts';
import { openQueue, type QueueSettings, type SqsQueue } from './sqs-queue.ts';
import { type SendingPart, SqsLanes } from './sqs-lanes.ts';

/** Batches have been allowed to be so large for as long as there are batches; with larger messages they are larger. */
const leastBatchBytes = 262_144;
const maxBatchEntries = 10;

const untried = 'Whether it may send (sqs:SendMessage) is not tried: only a message tells.';

/** What a sender is not to blame its message for, although SQS calls it the sender's fault. */
const notTheMessages = /throttl|kms|access|denied|limit|token|signature|credential|expired/i;

/**
 * Opens a sink that sends records to a queue of SQS, in batches of 10 messages.
 *
 * In a FIFO queue the group of a message is its stream, so that a stream keeps its order, and SQS knows a message that comes
 * again for five minutes. So that order survives a message that fails alone, one message of a stream is under way at a
 * time: batches are of many streams. A standard queue keeps neither order nor knows duplicates.
 *
 * A message's body is the record's value: as text where SQS takes it, as base64 otherwise. Its attributes `stream`, `seq`,
 * `part`, `parts` and `encoding` say what it is. Larger records are split into parts.
 *
 * `url`: the queue's own, with `sqs:` for `https:`; `region=` where the host does not say it; `endpoint=` for others' queues;
 * `maxBatches=`, the batches that may be under way, 1 to 64 (8). Keys come from where AWS's own tools have them.
 *
 * @throws {SpillwayError} `invalid_option` for a wrong option; `sink_failed` when the queue cannot be reached.
 * @example
 * ```ts
 * import { openSqsSink } from '@spillway/aws';
 *
 * const sink = await openSqsSink({ url: 'sqs://sqs.eu-central-1.amazonaws.com/123456789012/llm.fifo' });
 * await sink.write([{ stream: 's1', seq: 0, value: Buffer.from('{"n":1}') }], AbortSignal.timeout(5000));
 * await sink.close();
 * ```
 */
export async function openSqsSink(options: EngineSinkOptions): Promise<EngineSink> {
  checkOptions(options);
  const { isTrial = false, maxEntryBytes = Infinity, openTimeoutMs = 5000, url } = options;
  const age = new GradeAge();
  const { queue, settings } = await age.ask(() => openQueue(url, 'sink_failed', openTimeoutMs));
  return new SqsSink(queue, settings, { age, isTrial, maxEntryBytes });
}

class SqsSink implements EngineSink {
  readonly durability: EngineSink['durability'];
  readonly address: string;
  readonly #queue: SqsQueue;
  readonly #age: GradeAge;
  readonly #untried: EngineFacts['untried'];
  readonly #maxEntryBytes: number;
  #settings: QueueSettings;
  #forgot: EngineFacts['forgot'];
  readonly #kept = new KeptNumbers();
  readonly #turn: WriteTurn;

  constructor(
    queue: SqsQueue,
    settings: QueueSettings,
    {
      age,
      isTrial,
      maxEntryBytes,
    }: { readonly age: GradeAge; readonly isTrial: boolean; readonly maxEntryBytes: number },
  ) {
    this.#queue = queue;
    this.#settings = settings;
    this.#age = age;
    this.#untried = isTrial ? untried : undefined;
    this.#maxEntryBytes = maxEntryBytes;
    this.durability = queue.isAws ? 'replicated' : 'memory';
    this.address = queue.address;
    this.#turn = new WriteTurn(`The queue ${this.address}`);
  }

  get facts(): EngineFacts {
    return { ...factsOf(this.#queue, this.#settings), forgot: this.#forgot, untried: this.#untried };
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    return this.#turn.write(signal, () => this.#write(records, signal));
  }

  close(): Promise<void> {
    return this.#turn.close(async (work) => {
      await work;
      this.#queue.client.destroy();
    });
  }

  async lagOf(group: string, signal: AbortSignal): Promise<GroupLag> {
    signal.throwIfAborted();
    try {
      const entries = await orAborted(this.#queue.count(group, signal), signal);
      return { entries, ms: undefined };
    } catch (error) {
      signal.throwIfAborted();
      throw serviceFailure('sink_failed', `The queue ${group} beside ${this.address}`, error);
    }
  }

  async #write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    expectRecords(records);
    if (this.#age.isOld) await this.#askSettings(signal);
    const lanes = new SqsLanes(
      records.filter(({ seq, stream }) => !this.#kept.has(stream, seq)),
      Math.min(this.#maxEntryBytes, maxValueBytes(this.#settings.maxMessageBytes)),
      (record) => this.#kept.add(record.stream, record.seq),
    );
    await this.#sendAll(lanes, signal);
    if (lanes.refused.length > 0) throw new RefusedRecords(lanes.refused, records);
  }

  /** Somebody may have given the queue another largest message, or have made it anew. */
  async #askSettings(signal: AbortSignal): Promise<void> {
    const { createdSeconds: known } = this.#settings;
    try {
      this.#settings = await this.#age.ask(() => this.#queue.settings(signal));
    } catch (error) {
      signal.throwIfAborted();
      throw serviceFailure('sink_failed', `A question to the queue ${this.address}`, error);
    }
    const { createdSeconds } = this.#settings;
    if (known === undefined || createdSeconds === undefined || known === createdSeconds) return;
    this.#forgot = {
      times: (this.#forgot?.times ?? 0) + 1,
      why: `The queue ${this.#queue.name} was made anew, and what the one before it had is gone.`,
    };
  }

  /** Resolves when nothing is left to send, and rejects when a message has failed, after the batches under way have settled. */
  async #sendAll(lanes: SqsLanes, signal: AbortSignal): Promise<void> {
    const under = new Set<Promise<void>>();
    const failures: SpillwayError[] = [];
    for (;;) {
      while (failures.length === 0 && !signal.aborted && under.size < this.#queue.maxBatches) {
        const batch = this.#nextBatch(lanes);
        if (batch.length === 0) break;
        const sending = this.#send(batch, lanes, signal)
          .catch((error: unknown) => {
            failures.push(serviceFailure('sink_failed', `A write to the queue ${this.address}`, error));
          })
          .finally(() => under.delete(sending));
        under.add(sending);
      }
      if (under.size === 0) break;
      await Promise.race(under);
    }
    signal.throwIfAborted();
    const [failure] = failures;
    if (failure !== undefined) throw failure;
  }

  #nextBatch(lanes: SqsLanes): Sending[] {
    const maxBatchBytes = Math.max(this.#settings.maxMessageBytes, leastBatchBytes);
    const batch: Sending[] = [];
    let bytes = 0;
    while (batch.length < maxBatchEntries) {
      const sending = lanes.next((part) => {
        const entry = encodePart(part);
        if (batch.length > 0 && bytes + entry.bytes > maxBatchBytes) return undefined;
        bytes += entry.bytes;
        return entry;
      });
      if (sending === undefined) break;
      batch.push(sending);
    }
    return batch;
  }

  async #send(batch: readonly Sending[], lanes: SqsLanes, signal: AbortSignal): Promise<void> {
    const command = new SendMessageBatchCommand({
      QueueUrl: this.#queue.url,
      Entries: batch.map(({ entry, part }, index) => ({
        Id: String(index),
        MessageBody: entry.body,
        MessageAttributes: entry.attributes,
        ...(this.#settings.isFifo && { MessageDeduplicationId: idOf(part), MessageGroupId: part.group }),
      })),
    });
    const { Failed = [], Successful = [] } = await this.#queue.connections.onceMore(
      () => this.#queue.client.send(command, { abortSignal: signal }),
      signal,
    );
    for (const { Id } of Successful) {
      const sent = batch[Number(Id)];
      if (sent !== undefined) lanes.kept(sent.part);
    }
    let other: string | undefined;
    for (const { Code = 'unknown', Id, SenderFault } of Failed) {
      const sent = batch[Number(Id)];
      if (SenderFault === true && !notTheMessages.test(Code) && sent !== undefined)
        lanes.refuse(sent.part, `${Code}, of a message of ${sent.entry.bytes} bytes`);
      else other ??= Code;
    }
    if (other !== undefined || Failed.length + Successful.length < batch.length)
      throw new SpillwayError(
        'sink_failed',
        `A write to the queue ${this.address}: ${other ?? 'no answer'} for a message. What was sent is kept; write again.`,
      );
  }
}

type Sending = SendingPart<ReturnType<typeof encodePart>>;

function factsOf(queue: SqsQueue, { isFast, isFifo, retentionSeconds }: QueueSettings): EngineFacts {
  const warnings: string[] = [];
  if (!queue.isAws)
    warnings.push('Whoever answers at this endpoint is not known to keep more than its memory.');
  if (!isFifo)
    warnings.push('A standard queue gives records in any order, and sometimes twice; a FIFO queue does not.');
  else if (!isFast)
    warnings.push(
      'This FIFO queue takes 300 calls a second; high throughput (FifoThroughputLimit perMessageGroupId) takes more.',
    );
  if (retentionSeconds !== undefined)
    warnings.push(
      `Messages that nobody has taken are removed after ${Math.round(retentionSeconds / 3600)} hours, without a word to whoever reads.`,
    );
  return {
    engine: isFifo ? 'SQS, a FIFO queue' : 'SQS, a standard queue',
    durability: queue.isAws
      ? 'SQS answers when several machines have the message.'
      : 'Not AWS: nothing says what this endpoint does before it answers.',
    duplicates: isFifo
      ? 'SQS knows a message for five minutes by stream, number and part; the sink knows what it was told to be kept.'
      : 'A standard queue knows none; the sink knows what it was told to be kept.',
    warnings,
  };
}
