import { describeConfigsV2 } from '@platformatic/kafka';
import type { Durability } from '@spillway/core';
import type { KafkaCluster, KafkaTopic } from '../connection/kafka-cluster.ts';
import { errorName, KafkaFailure } from '../connection/kafka-failure.ts';

/** What a topic gives, as it is configured. */
export interface TopicFacts {
  readonly durability: Durability;
  /** Why: one sentence. */
  readonly reason: string;
  readonly warnings: readonly string[];
  /** Kafka removes entries to make room, however young they are and whether they are read or not. */
  readonly isLossy: boolean;
  /** The largest batch of entries that it takes, in bytes; `undefined`: it does not say. */
  readonly maxMessageBytes: number | undefined;
}

const topicResource = 2;
const names = [
  'min.insync.replicas',
  'max.message.bytes',
  'cleanup.policy',
  'retention.bytes',
  'retention.ms',
  'unclean.leader.election.enable',
];

/** Asks how the topic is configured, if that may be asked. */
export async function readTopicFacts(
  cluster: KafkaCluster,
  name: string,
  topic: KafkaTopic,
  signal: AbortSignal,
): Promise<TopicFacts> {
  const answer = await readConfig(cluster, name, signal);
  if (typeof answer === 'string')
    return {
      durability: 'memory',
      reason: `The setting min.insync.replicas cannot be asked: ${answer}.`,
      warnings: [
        `How many replicas keep a write is not known, so that it counts as memory: allow DescribeConfigs on the topic ${name}.`,
      ],
      isLossy: false,
      maxMessageBytes: undefined,
    };
  const least = Number(answer.get('min.insync.replicas') ?? 1);
  const isReplicated = least >= 2 && topic.replicas >= 2;
  const warnings: string[] = [];
  if (!isReplicated)
    warnings.push(
      'One broker alone may have a write that was acknowledged: set min.insync.replicas to 2 and have 3 replicas.',
    );
  const isCompacted = String(answer.get('cleanup.policy')).includes('compact');
  if (isCompacted)
    warnings.push(
      'cleanup.policy is compact: of each stream only the last record is kept. Set it to delete.',
    );
  const maxBytes = Number(answer.get('retention.bytes') ?? -1);
  if (maxBytes >= 0)
    warnings.push(
      `A partition with more than ${maxBytes} bytes loses its oldest records (retention.bytes), read or not.`,
    );
  const maxMs = Number(answer.get('retention.ms') ?? -1);
  if (maxMs >= 0)
    warnings.push(`Records are removed after ${maxMs / 3_600_000} hours (retention.ms), read or not.`);
  if (answer.get('unclean.leader.election.enable') === 'true')
    warnings.push(
      'unclean.leader.election.enable is true: a replica that lags may become the leader, and writes that were acknowledged are lost then.',
    );
  return {
    durability: isReplicated ? 'replicated' : 'memory',
    reason: `The setting min.insync.replicas is ${least} of ${topic.replicas} replicas, and a write waits for those in sync (acks=all); brokers answer before they sync their disks.`,
    warnings,
    isLossy: isCompacted || maxBytes >= 0,
    maxMessageBytes: Number(answer.get('max.message.bytes')) || undefined,
  };
}

/** The values by their names, or why they cannot be asked. */
async function readConfig(
  cluster: KafkaCluster,
  name: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string | null> | string> {
  const node = await cluster.any(signal);
  if (!node.has(describeConfigsV2.api)) return 'the brokers have no DescribeConfigs';
  const asked = { resourceType: topicResource, resourceName: name, configurationKeys: names } as const;
  const { results } = await node.call(describeConfigsV2.api, [[asked], false], signal);
  const [found] = results;
  if (found === undefined) throw new KafkaFailure('DescribeConfigs: no answer for the topic');
  if (found.errorCode !== 0) return errorName(found.errorCode);
  return new Map(found.configs.map((each) => [each.name, each.value ?? null]));
}
