import { metadataV9 } from '@platformatic/kafka';
import type { KafkaCluster } from '../connection/kafka-cluster.ts';
import { errorName, KafkaFailure } from '../connection/kafka-failure.ts';

/** The bit of what a user may do with a topic: Kafka's number of the operation WRITE. */
const mayWrite = 1 << 4;
/** What brokers answer that were not asked, or do not know. */
const unknownOperations = -(2 ** 31);
const authorizationFailed = 29;

/**
 * Tries whether the user may write to a topic, without a write. Resolves with why that cannot be tried, in a sentence, or with
 * `undefined`.
 *
 * @throws {KafkaFailure} when it may not.
 */
export async function tryToWrite(
  cluster: KafkaCluster,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const untried = `Whether the user may write to the topic ${name} is not tried: these brokers tell only a writer.`;
  const node = await cluster.any(signal);
  if (!node.has(metadataV9.api)) return untried;
  const { topics } = await node.call(metadataV9.api, [[name], false, true], signal);
  const operations = topics.find((topic) => topic.name === name)?.topicAuthorizedOperations;
  if (operations === undefined || operations === unknownOperations) return untried;
  if ((operations & mayWrite) === 0)
    throw new KafkaFailure(
      `topic ${name}: ${errorName(authorizationFailed)}: the user has no Write`,
      authorizationFailed,
    );
  return undefined;
}
