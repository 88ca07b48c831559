import { Connection, createRecordsBatch, produceV7, Writer } from '@platformatic/kafka';
import type { RecordSink, SinkRecord } from '@spillway/core';
import type { RecordSource } from '@spillway/core/source/record-source';
import type { SourceEngine } from '@spillway/core/testing';
import { openKafkaSink, openKafkaSource } from '@spillway/kafka';
import type { KafkaMock } from './kafka-mock.ts';
import { batchSizesOf, KafkaProxy, produce } from './kafka-proxy.ts';

/** The mock removes the oldest batches of a partition that has more. */
const maxLogBytes = 5_242_880;
/** Not the default: a machine that is busy is slow, and is no engine that fails. */
const openTimeoutMs = 20_000;

/** A cluster as the checks of sources need it: brokers that fall and are silent, and a log whose beginning is removed. */
export class KafkaSourceEngine implements SourceEngine {
  readonly trim?: (count: number) => Promise<void>;
  readonly #mock: KafkaMock;
  /** Of the sources. */
  readonly #proxy: KafkaProxy;
  /** Of the sink that fills the topic. */
  readonly #writing: KafkaProxy;
  readonly #topic: string;
  readonly #sink: RecordSink;
  /** What is in the log of the one partition, the oldest first. */
  readonly #log: { bytes: number; isRecord: boolean }[] = [];

  private constructor(
    mock: KafkaMock,
    [proxy, writing]: readonly [KafkaProxy, KafkaProxy],
    topic: string,
    sink: RecordSink,
    canTrim: boolean,
  ) {
    this.#mock = mock;
    this.#proxy = proxy;
    this.#writing = writing;
    this.#topic = topic;
    this.#sink = sink;
    if (canTrim) this.trim = (count) => this.#trim(count);
    writing.pass = (request) => {
      if (request.apiKey === produce)
        for (const bytes of batchSizesOf(request)) this.#log.push({ bytes, isRecord: true });
      return 'pass';
    };
  }

  /** @param partitions with one, the engine can trim. */
  static async start(
    mock: KafkaMock,
    partitions: number,
    maxEntryBytes?: number,
  ): Promise<KafkaSourceEngine> {
    const topic = await mock.makeTopic(partitions);
    const proxy = await KafkaProxy.start(mock.brokers);
    const writing = await KafkaProxy.start(mock.brokers);
    const url = `kafka://${writing.brokers}/${topic}`;
    const sink = await openKafkaSink({
      url,
      openTimeoutMs,
      ...(maxEntryBytes === undefined ? {} : { maxEntryBytes }),
    });
    return new KafkaSourceEngine(mock, [proxy, writing], topic, sink, partitions === 1);
  }

  async open(name: string): Promise<RecordSource> {
    const url = `kafka://${this.#proxy.brokers}/${this.#topic}`;
    return openKafkaSource({ url, name: `${this.#topic}-${name}`, openTimeoutMs });
  }

  async write(records: readonly SinkRecord[]): Promise<void> {
    // One batch for all would be removed as a whole.
    const runs = this.trim === undefined ? [records] : records.map((record) => [record]);
    for (const run of runs) await this.#sink.write(run, AbortSignal.timeout(20_000));
  }

  async fail(): Promise<void> {
    await this.#mock.command('down -1');
    // Brokers that are up again are none of those whose connections have ended.
    await Promise.all([this.#proxy.openCountSoon(), this.#writing.openCountSoon()]);
  }

  hang(): Promise<void> {
    this.#mock.stop();
    return Promise.resolve();
  }

  async heal(): Promise<void> {
    this.#mock.continue();
    await this.#mock.command('up -1');
  }

  openCount(): Promise<number> {
    return this.#proxy.openCountSoon();
  }

  async remove(): Promise<void> {
    await this.#sink.close();
    await Promise.all([this.#proxy.end(), this.#writing.end()]);
  }

  /** Fills the log with a batch that is none of records, of just the size with which the mock removes so many. */
  async #trim(count: number): Promise<void> {
    const removed = [];
    for (let left = count; left > 0;) {
      const batch = this.#log.shift();
      if (batch === undefined) throw new Error(`expected ${count} records in the log`);
      removed.push(batch);
      if (batch.isRecord) left -= 1;
    }
    const sum = (batches: readonly { bytes: number }[]): number =>
      batches.reduce((bytes, batch) => bytes + batch.bytes, 0);
    const size = maxLogBytes - sum(this.#log);
    const batch = controlBatch(size);
    this.#log.push({ bytes: size, isRecord: false });
    for (const broker of this.#mock.brokers) if (await send(broker, this.#topic, batch)) return;
    throw new Error('expected one broker to lead the partition');
  }
}

/** A batch with the flag of those that say how transactions end: readers leave it out. */
function controlBatch(size: number): Buffer {
  const make = (length: number): Buffer =>
    createRecordsBatch([{ topic: '', key: Buffer.alloc(4), value: Buffer.alloc(length) }]).buffer;
  const batch = make(size - (make(size).length - size));
  if (batch.length !== size) throw new Error(`expected a batch of ${size} bytes, got ${batch.length}`);
  batch.writeInt16BE(0x20, 21);
  return batch;
}

/** Writes a batch as it is. Resolves with whether the broker leads the partition. */
async function send(broker: string, topic: string, batch: Buffer): Promise<boolean> {
  const connection = new Connection('trim');
  connection.on('error', () => undefined);
  const [host = '', port] = broker.split(':');
  await connection.connect(host, Number(port));
  const payload = Writer.create()
    .appendString(null, false)
    .appendInt16(-1)
    .appendInt32(5000)
    .appendArray(
      [topic],
      (ofTopic, name) => {
        ofTopic.appendString(name, false).appendArray(
          [0],
          (ofPartition, partition) => {
            ofPartition.appendInt32(partition).appendBytes(batch, false);
          },
          false,
          false,
        );
      },
      false,
      false,
    );
  const { promise, resolve } = Promise.withResolvers<boolean>();
  connection.send(
    0,
    7,
    () => payload,
    produceV7.parseResponse,
    false,
    false,
    (error) => resolve(error === null),
  );
  const isLeader = await promise;
  await connection.close();
  return isLeader;
}
