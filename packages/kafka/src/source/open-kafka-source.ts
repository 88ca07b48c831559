import type { KafkaRecord } from '@platformatic/kafka';
import { type SinkRecord, SpillwayError } from '@spillway/core';
import { expectWhole, invalid } from '@spillway/core/invalid';
import type { RecordSource } from '@spillway/core/source/record-source';
import { readKafkaUrl } from '../connection/kafka-address.ts';
import { KafkaSource } from './kafka-source.ts';

/** An entry of a topic that another program has written. */
export interface KafkaEntry {
  readonly partition: number;
  readonly offset: number;
  /** When it was written, in milliseconds since 1970, as Kafka says it. */
  readonly dateMs: number;
  readonly key: Uint8Array | undefined;
  /** Empty: it has none, too. */
  readonly value: Uint8Array;
  readonly headers: ReadonlyMap<string, Uint8Array>;
}

/** Who reads a topic, and what is made of entries that are none of ours. */
export interface KafkaSourceOptions {
  /** As that of `openKafkaSink`, without `recall`. */
  readonly url: string;
  /** The reader's name, which its place belongs to: a consumer group of Kafka. 1 to 200 characters of `A-Z a-z 0-9 . _ -`. */
  readonly name: string;
  /** A password that is not to stand in the URL. Default: that of the URL. */
  readonly password?: string | undefined;
  /** How long the opening may take, with TLS and login, in milliseconds: 1 to 2^31 − 1. Default: 5000. */
  readonly openTimeoutMs?: number;
  /**
   * The name of a stream for entries of other programs; the number of the partition is put behind it, as in `orders-0`. 1 to
   * 100 characters of `A-Z a-z 0-9 _ -`. Default: the topic's, with `_` for what a stream cannot have.
   */
  readonly stream?: string;
  /**
   * Makes the value of a record of another program's entry. One for which it throws is a gap with the reason `not decoded`.
   * Default: the entry's value.
   */
  readonly decode?: (entry: KafkaEntry) => Uint8Array;
}

/**
 * Opens a topic to read its records, of all partitions, in the order of each. A record that was written in parts comes whole, and
 * one that comes twice is left out as far as the source knows it: numbers of a stream ascend.
 *
 * The place of the name is the committed offset of the consumer group. The source takes part in no rebalance: it reads all
 * partitions, and one program at a time reads under a name. A group whose members Kafka gives partitions to is refused. To
 * share the work, write to several topics, or give each program a name and let it leave out what is not its.
 *
 * Entries of other programs are records of the stream `TOPIC-PARTITION` with their offset as the number.
 *
 * What is held beside what the caller has not acknowledged is what one answer of each broker brought (4 MiB, or one batch of
 * its producer's, if that is more), and 64 MiB of parts that wait for others. A new entry waits up to 100 ms.
 *
 * A gap's `from` and `to` are `PARTITION:OFFSET`, and its `reason` is `removed` (by retention), `cut` (the log is shorter than
 * what was read of it: it lost entries, or is a new topic; it is read from its beginning), `incomplete` (parts of a record
 * without the others) or `not decoded`. The lag counts offsets, so that it is a bound where a topic is compacted, records have
 * several parts, or producers use transactions; entries of transactions that were aborted are given, too.
 *
 * @throws {SpillwayError} `invalid_option` for the URL or an option, `source_failed` when no broker answers or the topic is
 * not there.
 * @example
 * ```ts
 * import { copyRecords } from '@spillway/core/copy-records';
 * import { openKafkaSource } from '@spillway/kafka';
 *
 * const source = await openKafkaSource({ url: 'kafka://127.0.0.1:9092/llm', name: 'search-index' });
 * const stop = new AbortController();
 * process.once('SIGTERM', () => stop.abort());
 * const sink = { write: async (records: readonly { value: Uint8Array }[]) => console.log(records.length) };
 * await copyRecords(source, sink, { signal: stop.signal, onGap: (gap) => console.log(gap.from, gap.to) });
 * await source.close();
 * ```
 */
export async function openKafkaSource({
  decode = ({ value }) => value,
  name,
  openTimeoutMs = 5000,
  password,
  stream,
  url,
}: KafkaSourceOptions): Promise<RecordSource> {
  const address = readKafkaUrl(url, password, []);
  if (!/^[\w.-]{1,200}$/.test(name))
    throw invalid(`name: expected 1 to 200 characters of A-Z a-z 0-9 . _ -, got ${JSON.stringify(name)}.`);
  if (stream !== undefined && !/^[\w-]{1,100}$/.test(stream))
    throw invalid(`stream: expected 1 to 100 characters of A-Z a-z 0-9 _ -, got ${JSON.stringify(stream)}.`);
  expectWhole('openTimeoutMs', openTimeoutMs, 1, 2 ** 31 - 1);
  const prefix = stream ?? address.topic.replaceAll('.', '_').slice(0, 100);
  const source = new KafkaSource(address, {
    group: name,
    decode: (partition, entry, offset, dateMs): SinkRecord => ({
      stream: `${prefix}-${partition}`,
      seq: offset,
      value: decode(entryOf(partition, entry, offset, dateMs)),
    }),
  });
  const deadline = AbortSignal.timeout(openTimeoutMs);
  try {
    await source.open(deadline);
    return source;
  } catch (error) {
    await source.close();
    if (!deadline.aborted) throw error;
    throw new SpillwayError(
      'source_failed',
      `${source.address} does not work: it did not answer within ${openTimeoutMs} ms.`,
    );
  }
}

function entryOf(
  partition: number,
  { headers, key, value }: KafkaRecord,
  offset: number,
  dateMs: number,
): KafkaEntry {
  return {
    partition,
    offset,
    dateMs,
    key: key ?? undefined,
    value: value ?? new Uint8Array(),
    headers: new Map(headers.map(([name, text]) => [String(name), text ?? new Uint8Array()])),
  };
}
