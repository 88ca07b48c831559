import { SpillwayError } from '@spillway/core';
import type { EngineSink, EngineSinkOptions } from '@spillway/core/engine';
import { expectWhole } from '@spillway/core/invalid';
import { kafkaUrls, readKafkaUrl } from '../connection/kafka-address.ts';
import { KafkaSink } from './kafka-sink.ts';

/** How a sink of a topic is opened. */
export interface KafkaSinkOptions extends EngineSinkOptions {
  /**
   * `kafka://HOST:PORT,HOST:PORT/TOPIC`, or `kafkas://` with TLS, with an optional `USER:PASSWORD@` and these parameters:
   * `tls=1`; `ca`, `cert` and `key`, paths of PEM files; `sasl=plain` (the default where there is a user), `scram-sha-256` or
   * `scram-sha-512`; `recall`. The topic has to be there.
   */
  readonly url: string;
  /**
   * How many entries at the end of a partition the sink reads before it first writes there, to know what an earlier sink has
   * written: 0 to 1,000,000. Default: that of the URL, or 5000.
   */
  readonly recall?: number;
}

/**
 * Opens a sink that writes records to a topic: each as one entry, or as several when it is large, with the stream as the key,
 * so that a stream has one partition and its order, and the headers `stream`, `seq`, `part` and `parts`. A write waits for all
 * replicas in sync (`acks=all`).
 *
 * A record is known when it is written again: by the producer's number while the sink is open, and by what is read at the end
 * of its partition. At most one write is under way, as one batch a partition; nothing is queued, and an abort ends the
 * connections that it has to do with.
 *
 * `lagOf` says how far a consumer group is behind in the topic, by its committed offsets.
 *
 * @throws {SpillwayError} `invalid_option` for the URL or an option, `sink_failed` when no broker answers or the topic is not
 * there. Neither has a password in it.
 * @example
 * ```ts
 * import { openKafkaSink } from '@spillway/kafka';
 *
 * const sink = await openKafkaSink({ url: 'kafka://127.0.0.1:9092/llm' });
 * console.log(sink.durability, sink.facts.durability);
 * await sink.write([{ stream: 's1', seq: 0, value: Buffer.from('Hello') }], AbortSignal.timeout(5000));
 * await sink.close();
 * ```
 */
export async function openKafkaSink({
  isTrial = false,
  maxEntryBytes,
  openTimeoutMs = 5000,
  password,
  recall,
  url,
}: KafkaSinkOptions): Promise<EngineSink> {
  const address = readKafkaUrl(url, password, ['recall']);
  expectWhole('openTimeoutMs', openTimeoutMs, 1, 2 ** 31 - 1);
  if (maxEntryBytes !== undefined) expectWhole('maxEntryBytes', maxEntryBytes, 1024, Number.MAX_SAFE_INTEGER);
  if (recall !== undefined) expectWhole('recall', recall, 0, 1_000_000);
  const sink = new KafkaSink(address, {
    isTrial,
    maxEntryBytes,
    recall: recall ?? kafkaUrls.whole(address.parameters, 'recall', 0, 1_000_000) ?? 5000,
  });
  const deadline = AbortSignal.timeout(openTimeoutMs);
  try {
    await sink.open(deadline);
    return sink;
  } catch (error) {
    await sink.close();
    if (!deadline.aborted) throw error;
    throw new SpillwayError(
      'sink_failed',
      `${sink.address} does not work: it did not answer within ${openTimeoutMs} ms.`,
    );
  }
}
