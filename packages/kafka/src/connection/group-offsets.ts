import { offsetCommitV7, offsetFetchV5 } from '@platformatic/kafka';
import type { GroupLag } from '@spillway/core/engine';
import type { KafkaAddress } from './kafka-address.ts';
import { KafkaCluster, newest, oldest } from './kafka-cluster.ts';
import { expectNone, KafkaFailure } from './kafka-failure.ts';

/** Up to where a group is done with a partition. */
export interface GroupPlace {
  readonly partition: number;
  /** Of the next entry that it is not done with. */
  readonly offset: number;
  /** What the group has noted beside it. */
  readonly note: string;
}

/** A place in the log of a partition. */
export interface LogPlace {
  readonly partition: number;
  readonly offset: number;
}

/** The places of a group, of those partitions where it has one. */
export async function readPlaces(
  cluster: KafkaCluster,
  topic: string,
  group: string,
  partitions: readonly number[],
  signal: AbortSignal,
): Promise<ReadonlyMap<number, GroupPlace>> {
  const node = await cluster.coordinator(group, signal);
  const topics = [{ name: topic, partitionIndexes: [...partitions] }];
  const answer = await node.call(offsetFetchV5.api, [[{ groupId: group, topics }], false], signal);
  expectNone(answer.errorCode, `the places of the group ${group}`);
  const places = answer.topics.flatMap((each) =>
    each.partitions.map(({ committedOffset, errorCode, metadata, partitionIndex }) => {
      expectNone(errorCode, `the place of the group ${group} in partition ${partitionIndex}`);
      return { partition: partitionIndex, offset: Number(committedOffset), note: metadata ?? '' };
    }),
  );
  return new Map(places.filter(({ offset }) => offset >= 0).map((place) => [place.partition, place]));
}

/** Keeps places of a group. Rejects while the group has members that Kafka itself has given partitions to. */
export async function savePlaces(
  cluster: KafkaCluster,
  topic: string,
  group: string,
  places: readonly GroupPlace[],
  signal: AbortSignal,
): Promise<void> {
  const node = await cluster.coordinator(group, signal);
  const partitions = places.map(({ note, offset, partition }) => ({
    partitionIndex: partition,
    committedOffset: BigInt(offset),
    committedLeaderEpoch: -1,
    committedMetadata: note,
  }));
  const answer = await node.call(
    offsetCommitV7.api,
    [group, -1, '', null, [{ name: topic, partitions }]],
    signal,
  );
  for (const { errorCode, partitionIndex } of answer.topics.flatMap((each) => each.partitions))
    expectNone(errorCode, `to keep the place of the group ${group} in partition ${partitionIndex}`);
}

/** When the oldest entry at or behind any of the places was written, in milliseconds since 1970. */
export async function oldestDateMs(
  cluster: KafkaCluster,
  places: readonly LogPlace[],
  signal: AbortSignal,
): Promise<number | undefined> {
  if (places.length === 0) return undefined;
  const found = await cluster.fetch(places, { maxBytes: 1, waitMs: 0 }, signal);
  const dates = places.flatMap(({ offset, partition }) => {
    const entries = (found.get(partition)?.batches ?? []).flatMap((batch) =>
      batch.records.map(({ offsetDelta, timestampDelta }) => ({
        offset: Number(batch.firstOffset) + offsetDelta,
        dateMs: Number(batch.firstTimestamp + timestampDelta),
      })),
    );
    const first = entries.find((entry) => entry.offset >= offset);
    return first === undefined ? [] : [first.dateMs];
  });
  return dates.length === 0 ? undefined : Math.min(...dates);
}

/** How far a group of any program's is behind, on connections of its own. */
export async function readGroupLag(
  address: KafkaAddress,
  group: string,
  signal: AbortSignal,
): Promise<GroupLag> {
  const cluster = new KafkaCluster(address);
  try {
    const { leaders } = await cluster.topic(signal);
    const partitions = [...leaders.keys()];
    const places = await readPlaces(cluster, address.topic, group, partitions, signal);
    if (places.size === 0)
      throw new KafkaFailure(
        `the group ${group} has no place in the topic ${address.topic}: it has when a reader commits one, or kafka-consumer-groups.sh --group ${group} --topic ${address.topic} --reset-offsets --to-earliest --execute`,
      );
    const ends = await cluster.offsets(newest, partitions, signal);
    const starts = await cluster.offsets(oldest, partitions, signal);
    const behind = partitions
      .map((partition) => {
        // What is removed is not waited for.
        const offset = Math.max(places.get(partition)?.offset ?? 0, starts.get(partition) ?? 0);
        return { partition, offset, entries: (ends.get(partition) ?? 0) - offset };
      })
      .filter(({ entries }) => entries > 0);
    const dateMs = await oldestDateMs(cluster, behind, signal);
    return {
      entries: behind.reduce((sum, { entries }) => sum + entries, 0),
      ms: dateMs === undefined ? (behind.length === 0 ? 0 : undefined) : Math.max(0, Date.now() - dateMs),
    };
  } finally {
    await cluster.close();
  }
}
