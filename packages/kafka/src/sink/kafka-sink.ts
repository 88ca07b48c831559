import { initProducerIdV1, murmur2, NumericMap, produceV7, type RecordsBatch } from '@platformatic/kafka';
import { type Durability, type SinkRecord, SpillwayError } from '@spillway/core';
import {
  type EngineFacts,
  type EngineSink,
  GradeAge,
  type GroupLag,
  type RefusedRecord,
  RefusedRecords,
  SinkDenied,
  splitProblem,
  splitRecord,
} from '@spillway/core/engine';
import { expectRecords } from '@spillway/core/sink/expect-records';
import { WriteTurn } from '@spillway/core/sink/write-turn';
import { type KafkaAddress, shownAddress } from '../connection/kafka-address.ts';
import { KafkaCluster, newest, oldest } from '../connection/kafka-cluster.ts';
import { entryBytes, toMessage, toPart } from '../connection/kafka-entry.ts';
import { errorName, isDenial, kafkaFailure, KafkaFailure } from '../connection/kafka-failure.ts';
import type { KafkaNode } from '../connection/kafka-node.ts';
import { readGroupLag } from '../connection/group-offsets.ts';
import { KnownRecords } from './known-records.ts';
import { type Chunk, PartitionWriter } from './partition-writer.ts';
import { readTopicFacts } from './topic-facts.ts';
import { tryToWrite } from './try-to-write.ts';

/** How a sink writes. */
export interface KafkaSinkSettings {
  readonly maxEntryBytes: number | undefined;
  /** How many entries at the end of a partition a sink reads before it first writes there. */
  readonly recall: number;
  /** Whether it is opened to ask alone. */
  readonly isTrial: boolean;
}

/** A batch of one partition, where the topic does not say what it takes: a little less than Kafka's own default. */
const defaultBatchBytes = 1_000_000;
/** All batches of one request. */
const maxRequestBytes = 8_388_608;
/** How long a broker waits for its replicas. */
const replicasTimeoutMs = 10_000;
/** A read of what is kept. */
const readBytes = 1_048_576;
/** The broker takes none of a batch, whenever it is written: too large, or entries that break a rule. */
const refusals: ReadonlySet<number> = new Set([10, 18, 32, 87]);
/** The broker does not know this producer any more, or its numbers. */
const lostProducers: ReadonlySet<number> = new Set([45, 46, 47, 49, 59, 90]);

/** What a producer of Kafka's is known by; `undefined`: the cluster gives none. */
type Producer = { readonly id: bigint; readonly epoch: number } | undefined;

/** Entries that wait for their batch, by partition. */
type Waiting = Map<PartitionWriter, Chunk['entries'][number][]>;

/** A sink of one topic. Opened by `openKafkaSink`. */
export class KafkaSink implements EngineSink {
  readonly address: string;
  facts: EngineFacts = { engine: 'Kafka', durability: '', duplicates: '', warnings: [] };
  durability: Durability = 'memory';
  isLossy = false;
  readonly #gradeAge = new GradeAge();
  readonly #address: KafkaAddress;
  readonly #settings: KafkaSinkSettings;
  readonly #cluster: KafkaCluster;
  readonly #known = new KnownRecords();
  #untried: EngineFacts['untried'];
  readonly #turn: WriteTurn;
  #partitions: readonly PartitionWriter[] = [];
  #producer: Producer;
  #isIdempotent = true;
  #maxBatchBytes = defaultBatchBytes;

  constructor(address: KafkaAddress, settings: KafkaSinkSettings) {
    this.#address = address;
    this.#settings = settings;
    this.#cluster = new KafkaCluster(address);
    this.address = shownAddress(address);
    this.#turn = new WriteTurn(this.address);
  }

  /** Connects and asks. Rejects with `sink_failed`. */
  async open(signal: AbortSignal): Promise<void> {
    await this.#orFailed(async () => {
      const topic = await this.#cluster.topic(signal);
      this.#partitions = topic.leaders.map((_, partition) => new PartitionWriter(partition));
      if (this.#settings.isTrial)
        this.#untried = await tryToWrite(this.#cluster, this.#address.topic, signal);
      await this.#startProducer(signal);
      await this.#askFacts(signal);
    }, signal);
  }

  async #askFacts(signal: AbortSignal): Promise<void> {
    const topic = await this.#cluster.topic(signal);
    const found = await this.#gradeAge.ask(() =>
      readTopicFacts(this.#cluster, this.#address.topic, topic, signal),
    );
    this.#maxBatchBytes = Math.min(found.maxMessageBytes ?? defaultBatchBytes, maxRequestBytes);
    const { recall } = this.#settings;
    this.durability = found.durability;
    this.isLossy = found.isLossy;
    this.facts = {
      forgot: this.facts.forgot,
      untried: this.#untried,
      engine: `Kafka ${topic.clusterId ?? ''}, ${topic.brokerCount} brokers`.replace('Kafka ,', 'Kafka,'),
      durability: found.reason,
      duplicates: `A record that is among the last ${recall} entries of its partition is known, also after a restart${this.#isIdempotent ? ', and one whose write had no answer by its producer’s number while this sink is open' : ''}.`,
      warnings: this.#isIdempotent
        ? found.warnings
        : [
            ...found.warnings,
            'The cluster gives no producer id: allow IdempotentWrite. Without one, a write that had no answer may be kept twice.',
          ],
    };
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    // What an aborted write has begun ends at once, because its connections do.
    return this.#turn.write(signal, () =>
      this.#orFailed(async () => {
        expectRecords(records);
        if (records.length > 0) await this.#cluster.follow(() => this.#writeAll(records, signal), signal);
      }, signal),
    );
  }

  lagOf(group: string, signal: AbortSignal): Promise<GroupLag> {
    return this.#orFailed(() => readGroupLag(this.#address, group, signal), signal);
  }

  close(): Promise<void> {
    return this.#turn.close(async (work) => {
      await work;
      await this.#cluster.close();
    });
  }

  async #writeAll(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    if (this.#gradeAge.isOld) {
      // Where it is led and how often it is kept may have changed, too.
      this.#cluster.forget();
      await this.#askFacts(signal);
    }
    const byPartition = Map.groupBy(records, ({ stream }) => this.#partitionOf(stream));
    await this.#readTails([...byPartition.keys()], signal);
    const waiting: Waiting = new Map();
    const refused: RefusedRecord[] = [];
    for (const [writer, all] of byPartition) {
      const entries = all
        .filter((record) => {
          if (this.#known.has(record.stream, record.seq)) return false;
          const reason = splitProblem(record, this.#maxEntryBytes);
          if (reason !== undefined) refused.push({ record, reason });
          return reason === undefined;
        })
        .flatMap((record) => splitRecord(record, this.#maxEntryBytes).map((part) => ({ record, part })));
      if (entries.length > 0) waiting.set(writer, entries);
    }
    while (waiting.size > 0) await this.#writeRound(waiting, refused, signal);
    if (refused.length > 0) throw new RefusedRecords(refused, records);
  }

  get #maxEntryBytes(): number {
    const most = Math.max(1024, this.#maxBatchBytes - 1024);
    return Math.min(this.#settings.maxEntryBytes ?? most, most);
  }

  /** The same as Kafka's own producers choose for this key, as long as the topic has as many partitions as it had. */
  #partitionOf(stream: string): PartitionWriter {
    const hash = murmur2(Buffer.from(stream)) & 0x7f_ff_ff_ff;
    const writer = this.#partitions[hash % this.#partitions.length];
    if (writer === undefined) throw new KafkaFailure(`topic ${this.#address.topic} has no partitions`);
    return writer;
  }

  /** Sends the next batch of each partition. */
  async #writeRound(waiting: Waiting, refused: RefusedRecord[], signal: AbortSignal): Promise<void> {
    if (this.#isIdempotent && this.#producer === undefined) await this.#startProducer(signal);
    const chunks: Chunk[] = [];
    let bytes = 0;
    for (const [writer, entries] of waiting) {
      const chunk = writer.next(entries, this.#maxBatchBytes - 512);
      if (chunk === undefined) {
        this.#endProducer();
        return;
      }
      bytes += chunk.entries.reduce((sum, { part }) => sum + entryBytes(part), 0);
      if (chunks.length > 0 && bytes > maxRequestBytes) break;
      chunks.push(chunk);
    }
    const sending = (await this.#cluster.byLeader(chunks, signal)).map(([node, ofNode]) =>
      this.#send(node, ofNode, waiting, refused, signal),
    );
    // None is under way any more when this write is settled.
    const results = await Promise.allSettled(sending);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  async #send(
    node: KafkaNode,
    chunks: readonly Chunk[],
    waiting: Waiting,
    refused: RefusedRecord[],
    signal: AbortSignal,
  ): Promise<void> {
    const { topic } = this.#address;
    const messages = chunks.flatMap(({ entries, partition }) =>
      entries.map(({ part }) => toMessage(part, topic, partition)),
    );
    const producer = this.#producer;
    const numbers =
      producer === undefined
        ? {}
        : {
            producerId: producer.id,
            producerEpoch: producer.epoch,
            sequences: new NumericMap(
              chunks.map(({ partition, sequence }) => [`${topic}:${partition}`, sequence]),
            ),
          };
    for (const chunk of chunks) this.#writerOf(chunk).sent(chunk);
    const answer = await node.call(produceV7.api, [-1, replicasTimeoutMs, messages, numbers], signal);
    if (typeof answer === 'boolean') throw new KafkaFailure('a write had no answer');
    const results = answer.responses.flatMap(({ partitionResponses }) => partitionResponses);
    let problem: KafkaFailure | undefined;
    for (const chunk of chunks) {
      const result = results.find(({ index }) => index === chunk.partition);
      const code = result?.errorCode ?? -1;
      if (result !== undefined && code === 0) this.#kept(chunk, Number(result.baseOffset), waiting);
      else if (refusals.has(code)) this.#refused(chunk, code, waiting, refused);
      else {
        if (lostProducers.has(code)) this.#endProducer();
        problem = new KafkaFailure(`a write to partition ${chunk.partition}: ${errorName(code)}`, code);
      }
    }
    if (problem !== undefined) throw problem;
  }

  #kept(chunk: Chunk, first: number, waiting: Waiting): void {
    const writer = this.#writerOf(chunk);
    // A log that goes on before its end is another one.
    if (writer.end !== undefined && writer.end > first) this.#hasForgotten(writer, first);
    writer.kept(chunk, first + chunk.entries.length);
    for (const { part } of chunk.entries)
      if (part.part === part.parts - 1) this.#known.add(part.stream, part.seq);
    const rest = waiting.get(writer)?.slice(chunk.entries.length) ?? [];
    if (rest.length > 0) waiting.set(writer, rest);
    else waiting.delete(writer);
  }

  /** Smaller batches find out which entry is refused. */
  #refused(chunk: Chunk, code: number, waiting: Waiting, refused: RefusedRecord[]): void {
    const writer = this.#writerOf(chunk);
    writer.refused(chunk);
    const [only, ...others] = chunk.entries;
    if (only === undefined || others.length > 0) return;
    const { record } = only;
    refused.push({ record, reason: errorName(code) });
    this.#known.lack(record.stream, record.seq);
    const rest = waiting.get(writer)?.filter((entry) => entry.record !== record) ?? [];
    if (rest.length > 0) waiting.set(writer, rest);
    else waiting.delete(writer);
  }

  /** Reads what partitions keep, as far as that is not known: their end, or what came since a write had no answer. */
  async #readTails(writers: readonly PartitionWriter[], signal: AbortSignal): Promise<void> {
    const unknown = writers.filter(({ isKnown }) => !isKnown);
    if (unknown.length === 0) return;
    const numbers = unknown.map(({ partition }) => partition);
    const ends = await this.#cluster.offsets(newest, numbers, signal);
    const starts = await this.#cluster.offsets(oldest, numbers, signal);
    const endOf = ({ partition }: PartitionWriter): number => ends.get(partition) ?? 0;
    const places = new Map<PartitionWriter, number>();
    for (const writer of unknown) {
      const end = endOf(writer);
      // A log that ends before what was read of it is another one.
      const isOther = writer.end !== undefined && writer.end > end;
      if (isOther) this.#hasForgotten(writer, end);
      const last = writer.end === undefined || isOther ? end - this.#settings.recall : writer.end;
      places.set(writer, Math.max(starts.get(writer.partition) ?? 0, last));
    }
    for (;;) {
      const asked = [...places].filter(([writer, offset]) => offset < endOf(writer));
      if (asked.length === 0) break;
      const found = await this.#cluster.fetch(
        asked.map(([{ partition }, offset]) => ({ partition, offset })),
        { maxBytes: readBytes, waitMs: 100 },
        signal,
      );
      for (const [writer, offset] of asked) {
        const answer = found.get(writer.partition);
        if (answer !== undefined && answer.errorCode !== 0)
          throw new KafkaFailure(
            `a read of partition ${writer.partition}: ${errorName(answer.errorCode)}`,
            answer.errorCode,
          );
        places.set(writer, this.#readBatches(writer, answer?.batches ?? [], offset));
      }
    }
    for (const writer of unknown) {
      writer.end = endOf(writer);
      writer.isKnown = true;
    }
  }

  #hasForgotten({ end, partition }: PartitionWriter, endNow: number): void {
    const times = (this.facts.forgot?.times ?? 0) + 1;
    const why = `Partition ${partition} ended at ${end} and was found to end at ${endNow}: what was behind that is gone.`;
    this.facts = { ...this.facts, forgot: { times, why } };
  }

  /** Returns where the next read begins. */
  #readBatches(writer: PartitionWriter, batches: readonly RecordsBatch[], from: number): number {
    let offset = from;
    for (const batch of batches) {
      const first = Number(batch.firstOffset);
      for (const record of batch.records) {
        const part = first + record.offsetDelta < from ? undefined : toPart(record);
        if (part !== undefined && part.part === part.parts - 1) this.#known.add(part.stream, part.seq);
      }
      if (this.#producer?.id === batch.producerId && this.#producer.epoch === batch.producerEpoch)
        writer.found(batch.firstSequence, batch.records.length);
      offset = first + batch.lastOffsetDelta + 1;
    }
    return offset;
  }

  async #startProducer(signal: AbortSignal): Promise<void> {
    const node = await this.#cluster.any(signal);
    this.#isIdempotent = node.has(initProducerIdV1.api);
    if (!this.#isIdempotent) return;
    const answer = await node.call(initProducerIdV1.api, [null, replicasTimeoutMs], signal);
    // Not allowed, for the cluster or at all.
    if (answer.errorCode === 31 || answer.errorCode === 53) this.#isIdempotent = false;
    else if (answer.errorCode !== 0)
      throw new KafkaFailure(`a producer id: ${errorName(answer.errorCode)}`, answer.errorCode);
    else {
      this.#endProducer();
      this.#producer = { id: answer.producerId, epoch: answer.producerEpoch };
    }
  }

  /** The next one has numbers of its own. */
  #endProducer(): void {
    this.#producer = undefined;
    for (const writer of this.#partitions) writer.restart();
  }

  #writerOf({ partition }: Chunk): PartitionWriter {
    const writer = this.#partitions[partition];
    if (writer === undefined) throw new KafkaFailure(`partition ${partition} is not there`);
    return writer;
  }

  async #orFailed<Value>(work: () => Promise<Value>, signal: AbortSignal): Promise<Value> {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof SpillwayError) throw error;
      const failure = kafkaFailure(this.address, error, this.#address.login?.password);
      const message = `${this.address} does not work: ${failure.message}`;
      if (isDenial(failure)) throw new SinkDenied(message, { cause: error });
      throw new SpillwayError('sink_failed', message, { cause: error });
    }
  }
}
