import { SpillwayError } from '@spillway/core';
import { expectWhole } from '@spillway/core/invalid';
import type { ReadLimits, RecordSource, SourceItem, SourceLag } from '@spillway/core/source/record-source';
import { type KafkaAddress, shownAddress } from '../connection/kafka-address.ts';
import { KafkaCluster, newest, oldest } from '../connection/kafka-cluster.ts';
import { errorName, kafkaFailure, KafkaFailure } from '../connection/kafka-failure.ts';
import { oldestDateMs, readPlaces, savePlaces } from '../connection/group-offsets.ts';
import { type DecodeEntry, PartitionReader, type ReadPlace } from './partition-reader.ts';

/** Who reads, and how. */
export interface KafkaSourceSettings {
  readonly group: string;
  readonly decode: DecodeEntry;
}

/** A read waits so long on its brokers before it asks again, and one broker for the others. */
const waitMs = 100;
/** What one answer of a broker has at most, but for one batch that is larger. */
const maxAnswerBytes = 4_194_304;
const minAnswerBytes = 65_536;
/** Parts that wait for others, in all partitions. */
const maxWaitingBytes = 67_108_864;
/** A topic that has got more partitions is noticed so often. */
const lookMs = 30_000;
const offsetOutOfRange = 1;

/** What is done when an item that was given is. */
interface Given {
  readonly reader: PartitionReader;
  readonly places: readonly ReadPlace[];
}

/** A source of one topic. Opened by `openKafkaSource`. */
export class KafkaSource implements RecordSource {
  readonly address: string;
  readonly #address: KafkaAddress;
  readonly #settings: KafkaSourceSettings;
  /** Reads wait on their connections, so that places and lags have others. */
  readonly #reading: KafkaCluster;
  readonly #saving: KafkaCluster;
  readonly #measuring: KafkaCluster;
  readonly #closing = new AbortController();
  /** The how many-th each item was. Only for those that somebody still has. */
  readonly #orders = new WeakMap<SourceItem, number>();
  /** What was given and is not done, in that order. */
  #given: Given[] = [];
  #givenCount = 0;
  #doneCount = 0;
  #readers: PartitionReader[] = [];
  /** The place of each partition that Kafka has acknowledged. */
  readonly #saved = new Map<PartitionReader, string>();
  #turn = 0;
  #lookedMs = 0;
  /** The acknowledgement under way; never rejects. */
  #work: Promise<void> = Promise.resolve();

  constructor(address: KafkaAddress, settings: KafkaSourceSettings) {
    this.#address = address;
    this.#settings = settings;
    this.#reading = new KafkaCluster(address);
    this.#saving = new KafkaCluster(address);
    this.#measuring = new KafkaCluster(address);
    this.address = shownAddress(address);
  }

  /** Connects, and keeps a place for a name that is new. Rejects with `source_failed`. */
  async open(signal: AbortSignal): Promise<void> {
    await this.#orFailed(signal, (within) => this.#takePartitions(within));
  }

  async read(limits: ReadLimits, signal: AbortSignal): Promise<readonly SourceItem[]> {
    const { maxBytes = 1_048_576, maxItems } = limits;
    expectWhole('maxItems', maxItems, 1, 10_000);
    expectWhole('maxBytes', maxBytes, 1, Number.MAX_SAFE_INTEGER);
    return this.#orFailed(signal, async (within) => {
      for (let isFirst = true; ; isFirst = false) {
        if (isFirst) await this.#reading.follow(() => this.#dropRemoved(within), within);
        within.throwIfAborted();
        const items = this.#take(maxItems, maxBytes);
        if (items.length > 0) return items;
        if (performance.now() - this.#lookedMs > lookMs) await this.#takePartitions(within);
        // What is there comes at once; where nothing is, brokers wait.
        await this.#reading.follow(() => this.#fetch(maxBytes, isFirst ? 0 : waitMs, within), within);
      }
    });
  }

  async acknowledge(items: readonly SourceItem[], signal: AbortSignal): Promise<void> {
    this.#expectOpen();
    signal.throwIfAborted();
    const done = this.#doneWith(items);
    const ended = this.#given.splice(0, Math.max(0, done - this.#doneCount));
    this.#doneCount = Math.max(done, this.#doneCount);
    for (const { places } of ended) for (const place of places) place.isDone = true;
    for (const reader of new Set(ended.map((each) => each.reader))) reader.settle();
    const earlier = this.#work;
    const work = this.#orFailed(signal, async (within) => {
      // One that was aborted has ended its connections.
      await earlier;
      await this.#saving.follow(() => this.#save(within), within);
    });
    this.#work = work.catch(() => undefined);
    await work;
  }

  async lag(signal: AbortSignal): Promise<SourceLag> {
    return this.#orFailed(signal, (within) =>
      this.#measuring.follow(async () => {
        const numbers = this.#readers.map(({ partition }) => partition);
        const [ends, starts] = await Promise.all([
          this.#measuring.offsets(newest, numbers, within),
          this.#measuring.offsets(oldest, numbers, within),
        ]);
        const behind = this.#readers
          .map((reader) => {
            const { partition } = reader;
            const offset = Math.max(reader.place.offset, starts.get(partition) ?? 0);
            const entries = (ends.get(partition) ?? 0) - offset - reader.doneBehind;
            return { partition, offset, entries };
          })
          .filter(({ entries }) => entries > 0);
        const dateMs = await oldestDateMs(this.#measuring, behind, within);
        return {
          records: behind.reduce((sum, { entries }) => sum + entries, 0),
          bytes: undefined,
          ms: dateMs === undefined ? 0 : Math.max(0, Date.now() - dateMs),
        };
      }, within),
    );
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#work;
    await Promise.all([this.#reading.close(), this.#saving.close(), this.#measuring.close()]);
  }

  /** Begins with partitions that are new: where the group is, or with the oldest entry. */
  async #takePartitions(signal: AbortSignal): Promise<void> {
    const { group } = this.#settings;
    const { topic: name } = this.#address;
    if (this.#readers.length > 0) this.#reading.forget();
    const topic = await this.#reading.topic(signal);
    const partitions = [...topic.leaders.keys()].slice(this.#readers.length);
    if (partitions.length > 0) {
      const places = await readPlaces(this.#reading, name, group, partitions, signal);
      const starts = await this.#reading.offsets(oldest, partitions, signal);
      const fresh = partitions
        .filter((partition) => !places.has(partition))
        .map((partition) => ({ partition, offset: starts.get(partition) ?? 0, note: '' }));
      // What is removed from now on is a gap for whoever comes under this name.
      if (fresh.length > 0) await savePlaces(this.#reading, name, group, fresh, signal);
      const options = {
        maxBytes: Math.ceil(maxWaitingBytes / topic.leaders.length),
        decode: this.#settings.decode,
      };
      for (const partition of partitions) {
        const { note = '', offset } = places.get(partition) ?? { offset: starts.get(partition) ?? 0 };
        const reader = new PartitionReader(partition, offset, note, options);
        this.#readers.push(reader);
        this.#saved.set(reader, `${offset} ${note}`);
      }
    }
    this.#lookedMs = performance.now();
  }

  /** What was fetched and not given may have been removed meanwhile. */
  async #dropRemoved(signal: AbortSignal): Promise<void> {
    const holding = this.#readers.filter(({ firstHeld }) => firstHeld !== undefined);
    if (holding.length === 0) return;
    const numbers = holding.map(({ partition }) => partition);
    const starts = await this.#reading.offsets(oldest, numbers, signal);
    for (const reader of holding) reader.begins(starts.get(reader.partition) ?? 0);
  }

  /** Partitions take turns to be first. */
  #take(maxItems: number, maxBytes: number): SourceItem[] {
    const items: SourceItem[] = [];
    let room = maxBytes;
    this.#turn += 1;
    const first = this.#turn % this.#readers.length;
    for (const reader of [...this.#readers.slice(first), ...this.#readers.slice(0, first)]) {
      while (items.length < maxItems) {
        const next = reader.take(room, items.length === 0);
        if (next === undefined) break;
        if ('value' in next.item) room -= next.item.value.byteLength;
        items.push(next.item);
        this.#givenCount += 1;
        this.#orders.set(next.item, this.#givenCount);
        this.#given.push({ reader, places: next.places });
      }
    }
    return items;
  }

  /** Fetches of each partition, when all that was fetched is given. */
  async #fetch(maxBytes: number, brokerWaitMs: number, signal: AbortSignal): Promise<void> {
    const places = this.#readers.map(({ partition, position }) => ({ partition, offset: position }));
    const bytes = Math.min(Math.max(maxBytes, minAnswerBytes), maxAnswerBytes);
    const found = await this.#reading.fetch(places, { maxBytes: bytes, waitMs: brokerWaitMs }, signal);
    const outside: PartitionReader[] = [];
    let problem: KafkaFailure | undefined;
    for (const reader of this.#readers) {
      const { batches = [], errorCode = 0 } = found.get(reader.partition) ?? {};
      if (errorCode === offsetOutOfRange) outside.push(reader);
      else if (errorCode !== 0)
        problem = new KafkaFailure(
          `a read of partition ${reader.partition}: ${errorName(errorCode)}`,
          errorCode,
        );
      else reader.hold(batches);
    }
    if (outside.length > 0) await this.#reenter(outside, signal);
    if (problem !== undefined) throw problem;
  }

  /** The log of a partition has no such place any more. */
  async #reenter(readers: readonly PartitionReader[], signal: AbortSignal): Promise<void> {
    const numbers = readers.map(({ partition }) => partition);
    const starts = await this.#reading.offsets(oldest, numbers, signal);
    const ends = await this.#reading.offsets(newest, numbers, signal);
    for (const reader of readers) {
      const start = starts.get(reader.partition) ?? 0;
      const end = ends.get(reader.partition) ?? 0;
      if (reader.position < start) reader.begins(start);
      else if (reader.position > end) reader.endsBefore(start, end);
    }
  }

  /** How many of what was given are done when these items are. */
  #doneWith(items: readonly SourceItem[]): number {
    let done = this.#doneCount;
    for (const item of items) {
      const order = this.#orders.get(item);
      if (order === undefined || order > done + 1)
        throw new SpillwayError(
          'invalid_option',
          'items: expected what this source has given, in that order and without leaving any out.',
        );
      done = Math.max(done, order);
    }
    return done;
  }

  async #save(signal: AbortSignal): Promise<void> {
    const changed = this.#readers
      .map((reader) => ({ reader, place: reader.place }))
      .filter(({ place, reader }) => this.#saved.get(reader) !== `${place.offset} ${place.note}`);
    if (changed.length === 0) return;
    const places = changed.map(({ place, reader }) => ({ ...place, partition: reader.partition }));
    await savePlaces(this.#saving, this.#address.topic, this.#settings.group, places, signal);
    for (const { place, reader } of changed) this.#saved.set(reader, `${place.offset} ${place.note}`);
  }

  #expectOpen(): void {
    if (this.#closing.signal.aborted)
      throw new SpillwayError('source_closed', `This reader of ${this.address} is closed. Open another one.`);
  }

  /** Rejects with the signal's reason, when the source is closed with `source_closed`, and otherwise with `source_failed`. */
  async #orFailed<Value>(signal: AbortSignal, work: (within: AbortSignal) => Promise<Value>): Promise<Value> {
    this.#expectOpen();
    signal.throwIfAborted();
    try {
      return await work(AbortSignal.any([signal, this.#closing.signal]));
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      this.#expectOpen();
      if (error instanceof SpillwayError) throw error;
      const { message } = kafkaFailure(this.address, error, this.#address.login?.password);
      throw new SpillwayError('source_failed', `${this.address} does not work: ${message}`, { cause: error });
    }
  }
}
