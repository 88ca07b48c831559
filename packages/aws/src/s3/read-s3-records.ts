import type { SinkRecord } from '@spillway/core';
import { KeptNumbers } from '../service/kept-numbers.ts';
import { serviceFailure } from '../service/service-failure.ts';
import { decodeBatch } from './batch-object.ts';
import { S3Folder } from './s3-folder.ts';

/** A record, and the object that it is in. */
export interface S3Record extends SinkRecord {
  /** The name of the object behind the prefix, such as `0000000000000001.jsonl.gz`. */
  readonly object: string;
}

/** Which records are read. */
export interface ReadS3Options {
  /** As of the sink that has written them. */
  readonly url: string;
  /** Only objects behind this one, by name: to go on where an earlier reading has ended. Default: all. */
  readonly after?: string;
  /** Ends the reading with its reason. Default: none. */
  readonly signal?: AbortSignal;
}

/**
 * Reads what an S3 sink has written, each record once and those of a stream in order, to the newest object of that moment. One object is
 * in memory at a time.
 *
 * @throws {SpillwayError} `invalid_option` for a wrong URL; `source_failed` when the bucket cannot be reached, or an object is
 * damaged.
 * @example
 * ```ts
 * import { readS3Records } from '@spillway/aws';
 *
 * for await (const { seq, stream, value } of readS3Records({ url: 's3://my-bucket/transcripts' }))
 *   console.log(stream, seq, Buffer.from(value).toString());
 * ```
 */
export async function* readS3Records({
  after = '',
  signal = new AbortController().signal,
  url,
}: ReadS3Options): AsyncGenerator<S3Record, void> {
  const folder = new S3Folder(url);
  const given = new KeptNumbers();
  try {
    for await (const page of folder.list(after, signal)) {
      for (const { name } of page) {
        // Retention may have removed it meanwhile.
        const bytes = await folder.get(name, signal);
        for (const record of bytes === undefined ? [] : await decodeBatch(bytes)) {
          if (given.has(record.stream, record.seq)) continue;
          given.add(record.stream, record.seq);
          yield { ...record, object: name };
        }
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    throw serviceFailure('source_failed', `Reading ${folder.address}`, error);
  } finally {
    folder.close();
  }
}
