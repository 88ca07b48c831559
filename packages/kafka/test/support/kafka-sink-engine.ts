import type { RecordSink, SinkRecord } from '@spillway/core';
import type { SinkEngine } from '@spillway/core/testing';
import { openKafkaSink } from '@spillway/kafka';
import { joinEntries } from './join-entries.ts';
import type { KafkaMock, ReadEntry } from './kafka-mock.ts';
import { batchesOf, KafkaProxy, type Passage, type PassingRequest, produce, refuse } from './kafka-proxy.ts';

const partitions = 3;
const invalidRecord = 87;

/** A cluster as the checks of sinks need it: a topic of the check's own, brokers that fall and are silent. */
export class KafkaSinkEngine implements SinkEngine {
  readonly #mock: KafkaMock;
  readonly #proxy: KafkaProxy;
  readonly #topic: string;
  readonly #maxEntryBytes: number | undefined;
  readonly #entries: ReadEntry[] = [];
  readonly #refused = new Set<string>();
  /** What producers have sent and brokers have not refused. */
  readonly #sent: { who: string; sequence: number; count: number }[] = [];

  private constructor(mock: KafkaMock, proxy: KafkaProxy, topic: string, maxEntryBytes: number | undefined) {
    this.#mock = mock;
    this.#proxy = proxy;
    this.#topic = topic;
    this.#maxEntryBytes = maxEntryBytes;
    proxy.pass = (request) => (request.apiKey === produce ? this.#pass(request) : 'pass');
  }

  static async start(mock: KafkaMock, maxEntryBytes?: number): Promise<KafkaSinkEngine> {
    const topic = await mock.makeTopic(partitions);
    return new KafkaSinkEngine(mock, await KafkaProxy.start(mock.brokers), topic, maxEntryBytes);
  }

  open(): Promise<RecordSink> {
    const url = `kafka://${this.#proxy.brokers}/${this.#topic}`;
    return openKafkaSink({
      url,
      // Not the default: a machine that is busy is slow, and is no engine that fails.
      openTimeoutMs: 20_000,
      ...(this.#maxEntryBytes === undefined ? {} : { maxEntryBytes: this.#maxEntryBytes }),
    });
  }

  /** As librdkafka reads them. */
  async records(): Promise<SinkRecord[]> {
    this.#entries.push(...(await this.#mock.read(this.#topic, partitions)));
    return joinEntries(this.#entries);
  }

  refuse({ seq, stream }: SinkRecord): void {
    this.#refused.add(`${stream} ${seq}`);
  }

  async fail(): Promise<void> {
    await this.#mock.command('down -1');
    // Brokers that are up again are none of those whose connections have ended.
    await this.#proxy.openCountSoon();
  }

  hang(): Promise<void> {
    this.#mock.stop();
    return Promise.resolve();
  }

  async heal(): Promise<void> {
    this.#mock.continue();
    await this.#mock.command('up -1');
  }

  async openCount(): Promise<number> {
    return this.#proxy.openCountSoon();
  }

  async remove(): Promise<void> {
    await this.#proxy.end();
    this.#expectNumbers();
  }

  #pass(request: PassingRequest): Passage {
    const refused = new Set<number>();
    const batches = batchesOf(request);
    for (const { batch, partition } of batches) {
      const isRefused = batch.records.some(({ headers }) => {
        const [stream, seq] = headers.map(([, value]) => String(value));
        return this.#refused.has(`${stream} ${seq}`);
      });
      if (isRefused) refused.add(partition);
      else
        this.#sent.push({
          who: `${batch.producerId} ${batch.producerEpoch} ${partition}`,
          sequence: batch.firstSequence,
          count: batch.records.length,
        });
    }
    return refused.size === 0 ? 'pass' : refuse(request, refused, invalidRecord);
  }

  /** A real broker takes a producer's batches when their numbers are without a hole, or when a batch is the last one again. */
  #expectNumbers(): void {
    for (const [who, sent] of Map.groupBy(this.#sent, (each) => each.who)) {
      let last = { sequence: 0, count: 0 };
      for (const { count, sequence } of sent) {
        const isAgain = sequence === last.sequence && count === last.count;
        if (!isAgain && sequence !== last.sequence + last.count)
          throw new Error(
            `producer ${who}: expected the number ${last.sequence + last.count}, got ${sequence}`,
          );
        last = { sequence, count };
      }
    }
  }
}
