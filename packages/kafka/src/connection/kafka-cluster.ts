import { setTimeout as sleep } from 'node:timers/promises';
import {
  fetchV11,
  findCoordinatorV2,
  listOffsetsV2,
  metadataV2,
  metadataV5,
  type RecordsBatch,
} from '@platformatic/kafka';
import { type EngineHost, shownHost } from '@spillway/core/engine';
import type { KafkaAddress } from './kafka-address.ts';
import { errorName, expectNone, hasMoved, KafkaFailure } from './kafka-failure.ts';
import { KafkaNode } from './kafka-node.ts';

/** How long one broker is asked where everything is, before another one is. */
const lookTimeoutMs = 3000;

/** How often a call looks for the leader that a partition has now, and what it waits before that. */
const moves = 4;
const movePauseMs = 100;

/** What brokers know of the topic. */
export interface KafkaTopic {
  readonly clusterId: string | undefined;
  readonly brokerCount: number;
  /** Where each partition is led, by its number. */
  readonly leaders: readonly (EngineHost | undefined)[];
  /** The replicas of the partition that has the fewest. */
  readonly replicas: number;
}

/** What a partition holds. */
export interface FetchedPartition {
  /** Kafka's number of an error; 0: none. */
  readonly errorCode: number;
  /** Behind the last entry that every replica in sync has. */
  readonly end: number;
  readonly batches: readonly RecordsBatch[];
}

/** The offsets of a partition's ends, as Kafka asks for them. */
export const oldest = -2n;
export const newest = -1n;

/**
 * The brokers of one topic, each with one connection, which is made when it is asked. For one caller with one thing to do at
 * a time: an abort ends the connections that it has to do with.
 */
export class KafkaCluster {
  readonly #address: KafkaAddress;
  /** By host and port. */
  readonly #nodes = new Map<string, Promise<KafkaNode>>();
  #hosts: readonly EngineHost[];
  #topic: KafkaTopic | undefined;
  #coordinator: EngineHost | undefined;

  constructor(address: KafkaAddress) {
    this.#address = address;
    this.#hosts = address.hosts;
  }

  /** Resolves with what is known of the topic, and asks when nothing is. */
  async topic(signal: AbortSignal): Promise<KafkaTopic> {
    this.#topic ??= await this.#look(signal);
    return this.#topic;
  }

  /**
   * Does something, and does it again, with another look at where everything is, when whoever was asked is not the one any
   * more. What is known is forgotten whenever it rejects.
   */
  async follow<Value>(work: () => Promise<Value>, signal: AbortSignal): Promise<Value> {
    for (let move = 1; ; move += 1) {
      try {
        return await work();
      } catch (error) {
        this.forget();
        if (move === moves || !hasMoved(error)) throw error;
        await sleep(move * movePauseMs, undefined, { signal });
      }
    }
  }

  /** Whatever is known is not so any more. */
  forget(): void {
    this.#topic = undefined;
    this.#coordinator = undefined;
  }

  /** The leader of a partition. */
  async leader(partition: number, signal: AbortSignal): Promise<KafkaNode> {
    return this.#node(await this.#leaderHost(partition, signal), signal);
  }

  /** The broker that keeps the offsets of a group. */
  async coordinator(group: string, signal: AbortSignal): Promise<KafkaNode> {
    if (this.#coordinator === undefined) {
      const node = await this.any(signal);
      const { coordinators } = await node.call(findCoordinatorV2.api, [0, [group]], signal);
      const [found] = coordinators;
      if (found === undefined) throw new KafkaFailure(`group ${group}: no broker keeps it`);
      expectNone(found.errorCode, `group ${group}`);
      this.#coordinator = { host: found.host, port: found.port };
    }
    return this.#node(this.#coordinator, signal);
  }

  /** The partitions of each leader. */
  async byLeader<Of extends { readonly partition: number }>(
    all: readonly Of[],
    signal: AbortSignal,
  ): Promise<readonly (readonly [KafkaNode, readonly Of[]])[]> {
    const found = await Promise.all(
      all.map(async (each) => [await this.leader(each.partition, signal), each] as const),
    );
    const groups = Map.groupBy(found, ([node]) => node);
    return [...groups].map(([node, pairs]) => [node, pairs.map(([, each]) => each)]);
  }

  /** The offset of the oldest entry of partitions, or behind the newest one, by partition. */
  async offsets(
    which: typeof newest | typeof oldest,
    partitions: readonly number[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<number, number>> {
    const asked = partitions.map((partition) => ({ partition }));
    const answers = await Promise.all(
      (await this.byLeader(asked, signal)).map(([node, ofNode]) => {
        const wanted = ofNode.map(({ partition }) => ({
          partitionIndex: partition,
          currentLeaderEpoch: -1,
          timestamp: which,
        }));
        return node.call(
          listOffsetsV2.api,
          [-1, 0, [{ name: this.#address.topic, partitions: wanted }]],
          signal,
        );
      }),
    );
    const all = answers.flatMap(({ topics }) => topics.flatMap(({ partitions: of }) => of));
    return new Map(
      all.map(({ errorCode, offset, partitionIndex }) => {
        expectNone(errorCode, `offsets of partition ${partitionIndex}`);
        return [partitionIndex, Number(offset)];
      }),
    );
  }

  /**
   * Reads from offsets of partitions on. An answer has at least one batch where there is one, however large that is, and
   * batches may begin before the offset.
   *
   * @param waitMs how long brokers wait while there is nothing.
   * @param maxBytes of all partitions of one leader.
   */
  async fetch(
    places: readonly { readonly partition: number; readonly offset: number }[],
    { maxBytes, waitMs }: { readonly maxBytes: number; readonly waitMs: number },
    signal: AbortSignal,
  ): Promise<ReadonlyMap<number, FetchedPartition>> {
    const found = new Map<number, FetchedPartition>();
    const read = async (node: KafkaNode, ofNode: typeof places): Promise<void> => {
      const partitions = ofNode.map(({ offset, partition }) => ({
        partition,
        currentLeaderEpoch: -1,
        fetchOffset: BigInt(offset),
        lastFetchedEpoch: -1,
        partitionMaxBytes: maxBytes,
      }));
      const asked = [{ topicId: this.#address.topic, partitions }];
      const answer = await node.call(fetchV11.api, [waitMs, 1, maxBytes, 0, 0, -1, asked, [], ''], signal);
      expectNone(answer.errorCode, 'a read');
      for (const { errorCode, highWatermark, partitionIndex, records } of answer.responses.flatMap(
        ({ partitions: all }) => all,
      ))
        found.set(partitionIndex, { errorCode, end: Number(highWatermark), batches: records ?? [] });
    };
    await Promise.all((await this.byLeader(places, signal)).map(([node, ofNode]) => read(node, ofNode)));
    return found;
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    const nodes = [...this.#nodes.values()];
    this.#nodes.clear();
    for (const node of await Promise.allSettled(nodes)) if (node.status === 'fulfilled') node.value.destroy();
  }

  /** A broker that answers: one that is connected, or the next that can be. */
  async any(signal: AbortSignal): Promise<KafkaNode> {
    return this.#ask((node) => Promise.resolve(node), signal);
  }

  async #leaderHost(partition: number, signal: AbortSignal): Promise<EngineHost> {
    const host = (await this.topic(signal)).leaders[partition];
    if (host === undefined)
      throw new KafkaFailure(`partition ${partition} of ${this.#address.topic} has no leader`, 5);
    return host;
  }

  async #look(signal: AbortSignal): Promise<KafkaTopic> {
    const name = this.#address.topic;
    const answer = await this.#ask((node, within) => {
      // Before version 4 to ask for a topic makes it, where brokers are allowed to.
      const { api } = node.has(metadataV5.api) ? metadataV5 : metadataV2;
      return node.call(api, [[name], false], within);
    }, signal);
    const { brokers, clusterId, topics } = answer;
    const topic = topics.find((each) => each.name === name);
    if (topic === undefined) throw new KafkaFailure(`topic ${name}: no broker knows it`, 3);
    if (topic.errorCode !== 0)
      throw new KafkaFailure(`topic ${name}: ${errorName(topic.errorCode)}`, topic.errorCode);
    if (brokers.length > 0) this.#hosts = [...brokers, ...this.#address.hosts];
    const leaders: (EngineHost | undefined)[] = [];
    for (const { leaderId, partitionIndex } of topic.partitions)
      leaders[partitionIndex] = brokers.find(({ nodeId }) => nodeId === leaderId);
    return {
      clusterId: clusterId ?? undefined,
      brokerCount: brokers.length,
      leaders: Array.from(leaders),
      replicas: Math.min(...topic.partitions.map(({ replicaNodes }) => replicaNodes.length)),
    };
  }

  /** Asks one broker after the other, until one has answered. */
  async #ask<Answer>(
    call: (node: KafkaNode, signal: AbortSignal) => Promise<Answer>,
    signal: AbortSignal,
  ): Promise<Answer> {
    let problem: unknown = new KafkaFailure('no broker is known');
    const isConnected = (host: EngineHost): boolean => this.#nodes.has(shownHost(host));
    for (const host of this.#hosts.toSorted(
      (one, other) => Number(isConnected(other)) - Number(isConnected(one)),
    )) {
      const within = AbortSignal.any([signal, AbortSignal.timeout(lookTimeoutMs)]);
      try {
        return await call(await this.#node(host, within), within);
      } catch (error) {
        signal.throwIfAborted();
        problem = within.aborted
          ? new KafkaFailure(`${shownHost(host)}: no answer within ${lookTimeoutMs} ms`)
          : error;
      }
    }
    throw problem;
  }

  async #node(host: EngineHost, signal: AbortSignal): Promise<KafkaNode> {
    const name = shownHost(host);
    const known = this.#nodes.get(name);
    if (known !== undefined) {
      const node = await known;
      if (node.isConnected) return node;
      node.destroy();
      if (this.#nodes.get(name) === known) this.#nodes.delete(name);
    }
    return this.#nodes.get(name) ?? this.#open(name, host, signal);
  }

  #open(name: string, host: EngineHost, signal: AbortSignal): Promise<KafkaNode> {
    const opening = KafkaNode.open(this.#address, host, signal);
    this.#nodes.set(name, opening);
    opening.catch(() => {
      if (this.#nodes.get(name) === opening) this.#nodes.delete(name);
    });
    return opening;
  }
}
