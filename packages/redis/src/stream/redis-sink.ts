import { randomUUID } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import {
  type EngineFacts,
  type EngineSink,
  type EngineSinkOptions,
  GradeAge,
  type GroupLag,
  type RecordPart,
  type RefusedRecord,
  RefusedRecords,
  SinkDenied,
  splitProblem,
  splitRecord,
} from '@spillway/core/engine';
import { expectWhole } from '@spillway/core/invalid';
import { expectRecords } from '@spillway/core/sink/expect-records';
import { WriteTurn } from '@spillway/core/sink/write-turn';
import { type RedisClient, within } from '../connection/dial-redis.ts';
import { type RedisAddress, redisUrls, shownAddress } from '../connection/redis-address.ts';
import { durationOf, keyBeside, readRedisEndUrl } from '../connection/redis-end-url.ts';
import { RedisFailure } from '../connection/redis-failure.ts';
import { RedisLink, type RedisLinkOptions } from '../connection/redis-link.ts';
import { askStanding, type RedisStanding } from '../connection/redis-standing.ts';
import { addScript, rightsScript } from './add-script.ts';
import { askGroup } from './group-lag.ts';
import { expectStream } from './expect.ts';

/** Options of {@link openRedisSink}. */
export interface RedisSinkOptions extends EngineSinkOptions {
  /**
   * Where Redis is, as for `openRedisLimits`, and behind `?` what is written there:
   *
   * - `stream`: the key of the stream, 1 to 512 characters. Default: `spillway`.
   * - `remember`: for how long after the last record of a stream a repeated one is known: `1s` to `365d`. Default: `24h`.
   * - `wait`: the replicas that have a write before it counts: 0 to 100. Default: 0.
   * - `maxlen`: the entries that are kept at least, from 1; older ones are removed, read or not, which makes the sink a lossy
   *   one. Default: all are kept.
   */
  readonly url: string;
  /** What TLS trusts, such as `ca`, and with which certificate it answers. Default: as Node. Only with `rediss`. */
  readonly tls?: ConnectionOptions | undefined;
  /** How long Redis may take for an answer, in milliseconds: 10 to 600,000. Then the write rejects. Default: 10,000. */
  readonly deadlineMs?: number;
}

/** What one call of the script has at most, but for one entry that is larger: Redis does nothing else meanwhile. */
const maxCallBytes = 1_048_576;
const maxCallEntries = 1000;
/** Where Redis takes more, larger entries would hold it up. */
const defaultEntryBytes = 16_777_216;

/**
 * Opens a sink that adds records to a stream of Redis, each once: a script compares its number with the last one of its stream,
 * and adds it in one step. Needs Redis 5 or newer, or Valkey.
 *
 * An entry has the fields `stream`, `seq` and `value`, and a part of a record that was split also `part` and `parts`. One
 * connection is kept, and made anew when a write needs it: while Redis is away a write rejects with `sink_failed`, and nothing
 * waits. A Redis that is full (`maxmemory`) rejects, too, and takes records again when it has room. `durability` is what it is
 * configured to: `fsync` with `appendfsync always` and no sentinels, `replicated` with `wait`, else `memory`.
 *
 * @throws {SpillwayError} `invalid_option` for the URL or an option; `sink_failed` when Redis is away, or a replica.
 * @example
 * ```ts
 * import { openRedisSink } from '@spillway/redis';
 *
 * const sink = await openRedisSink({ url: 'redis://127.0.0.1:6379?stream=llm' });
 * await sink.write([{ stream: 's1', seq: 0, value: Buffer.from('hello') }], AbortSignal.timeout(5000));
 * await sink.close();
 * ```
 */
export async function openRedisSink(options: RedisSinkOptions): Promise<EngineSink> {
  const { deadlineMs = 10_000, maxEntryBytes, openTimeoutMs = 5000, password, tls, url } = options;
  const end = readRedisEndUrl(url, ['maxlen', 'remember', 'wait']);
  expectWhole('openTimeoutMs', openTimeoutMs, 1, 2 ** 31 - 1);
  expectWhole('deadlineMs', deadlineMs, 10, 600_000);
  if (maxEntryBytes !== undefined) expectWhole('maxEntryBytes', maxEntryBytes, 1024, 536_870_912);
  const address = password === undefined ? end.address : { ...end.address, password };
  const sink = new StreamSink({
    address,
    key: end.key,
    maxlen: redisUrls.whole(end.parameters, 'maxlen', 1, Number.MAX_SAFE_INTEGER),
    rememberMs: durationOf(end, 'remember') ?? 86_400_000,
    wait: redisUrls.whole(end.parameters, 'wait', 0, 100) ?? 0,
    maxEntryBytes,
    link: { address, tls, openTimeoutMs, deadlineMs },
  });
  await sink.open();
  return sink;
}

interface StreamSinkOptions {
  readonly address: RedisAddress;
  readonly key: string;
  readonly maxlen: number | undefined;
  readonly rememberMs: number;
  readonly wait: number;
  readonly maxEntryBytes: number | undefined;
  readonly link: RedisLinkOptions;
}

class StreamSink implements EngineSink {
  readonly address: string;
  readonly #options: StreamSinkOptions;
  readonly #link: RedisLink;
  #standing: RedisStanding | undefined;
  readonly #gradeAge = new GradeAge();
  /** The life of the stream that has something of this sink, and the entries of it. */
  #life: { readonly name: string; readonly count: number } | undefined;
  /** What the stream was when it was looked at last. */
  #seen: { readonly life: string; readonly stream: readonly string[] } | undefined;
  readonly #seenAge = new GradeAge();
  #maySee = true;
  #forgot: EngineFacts['forgot'];
  readonly #turn = new WriteTurn('The sink on Redis');

  constructor(options: StreamSinkOptions) {
    this.#options = options;
    this.address = `${shownAddress(options.address)} (stream ${options.key})`;
    this.#link = new RedisLink(options.link, (client, signal) => this.#greet(client, signal));
  }

  get durability(): RecordSink['durability'] {
    return this.#standing?.durability ?? 'memory';
  }

  /** Redis removes old entries as it was asked to, or the whole stream when it is full. */
  get isLossy(): boolean {
    return this.#options.maxlen !== undefined || this.#standing?.evictsStreams === true;
  }

  get facts(): EngineFacts {
    const { maxlen, rememberMs } = this.#options;
    const { engine = 'Redis', reason = '', warnings = [] } = this.#standing ?? {};
    const blind = `XINFO is not allowed: a stream that was lost and made again by another program cannot be told. Let the user do so (+xinfo|stream; +xinfo before Redis 7).`;
    const lossy = `maxlen=${maxlen}: the oldest entries are removed, read or not, so that this sink loses records.`;
    return {
      engine,
      durability: reason,
      duplicates: `A script compares a record's number with the last one of its stream, which is known until ${rememberMs / 1000} s after that was written.`,
      warnings: [...(maxlen === undefined ? [] : [lossy]), ...warnings, ...(this.#maySee ? [] : [blind])],
      forgot: this.#forgot,
    };
  }

  async open(): Promise<void> {
    try {
      const signal = new AbortController().signal;
      const { key } = this.#options;
      const keys = [key, keyBeside(key, 'life'), keyBeside(key, 'last:')];
      await this.#link.use(signal, async (client) => {
        await expectStream(key, (words) => this.#link.call(client, words, signal));
        const may = await this.#link.run(client, { script: rightsScript, keys, words: [] }, signal);
        this.#maySee = Number(may) === 1;
      });
    } catch (error) {
      this.#link.close();
      throw error instanceof RedisFailure ? failed(error) : error;
    }
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    return this.#turn.write(signal, () => this.#write(records, signal));
  }

  async lagOf(group: string, signal: AbortSignal): Promise<GroupLag> {
    this.#turn.expectOpen();
    try {
      const { entries, ms } = await askGroup(this.#options.link, this.#options.key, group, signal);
      return { entries, ms };
    } catch (error) {
      throw error instanceof RedisFailure ? failed(error) : error;
    }
  }

  close(): Promise<void> {
    return this.#turn.close(async (work) => {
      await work;
      this.#link.close();
    });
  }

  async #write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    if (records.length === 0) return;
    expectRecords(records);
    let refused: readonly RefusedRecord[] = [];
    try {
      // All of it by one connection: what waits for replicas waits for the writes of its own.
      await this.#link.use(signal, async (client) => {
        if (this.#gradeAge.isOld) await this.#askStanding((words) => this.#link.call(client, words, signal));
        // A new connection may be to a Redis that takes less.
        const { taken, tooLarge } = this.#divide(records);
        refused = tooLarge;
        for (const batch of batchesOf(taken, this.#entryBytes)) {
          await this.#add(client, batch, signal);
        }
        await this.#waitForReplicas(client, signal);
      });
    } catch (error) {
      throw error instanceof RedisFailure ? failed(error) : error;
    }
    if (refused.length > 0) throw new RefusedRecords(refused);
  }

  #divide(records: readonly SinkRecord[]): {
    readonly taken: readonly SinkRecord[];
    readonly tooLarge: readonly RefusedRecord[];
  } {
    const tooLarge = records.flatMap((record) => {
      const reason = splitProblem(record, this.#entryBytes);
      return reason === undefined ? [] : [{ record, reason }];
    });
    const refused = new Set(tooLarge.map(({ record }) => record));
    return {
      tooLarge,
      taken: refused.size === 0 ? records : records.filter((record) => !refused.has(record)),
    };
  }

  get #entryBytes(): number {
    const { maxEntryBytes = defaultEntryBytes } = this.#options;
    return Math.min(maxEntryBytes, this.#standing?.maxValueBytes ?? maxEntryBytes);
  }

  async #greet(client: RedisClient, signal: AbortSignal): Promise<void> {
    const limits = { signal, timeoutMs: this.#options.link.openTimeoutMs };
    await this.#askStanding((words) => within(client.sendCommand(words), limits, 'answer'));
  }

  async #askStanding(ask: (words: readonly string[]) => Promise<unknown>): Promise<void> {
    const { address, maxlen, wait } = this.#options;
    const wish = { wait, hasSentinels: address.master !== undefined, isTrimmed: maxlen !== undefined };
    this.#standing = await this.#gradeAge.ask(() => askStanding(ask, shownAddress(address), wish));
  }

  async #add(client: RedisClient, batch: readonly RecordPart[], signal: AbortSignal): Promise<void> {
    const looks = this.#seenAge.isOld || this.#seen?.life !== this.#life?.name;
    const run = (): Promise<unknown> => this.#link.run(client, this.#callFor(batch, looks), signal);
    this.#learnLife(looks ? await this.#seenAge.ask(run) : await run());
  }

  /** What the script says of the stream that it has written to. */
  #learnLife(answer: unknown): void {
    const [name = '', before, count, ...stream] = Array.isArray(answer) ? answer.map(String) : [];
    const { key } = this.#options;
    const life = this.#life;
    this.#life = { name, count: Number(count) };
    if (stream.length > 0) this.#seen = { life: name, stream };
    if (life === undefined || (life.name === name && life.count <= Number(before))) return;
    // What was seen of another copy says nothing of this one.
    if (stream.length === 0) this.#seen = undefined;
    this.#forgot = {
      times: (this.#forgot?.times ?? 0) + 1,
      why:
        life.name === name
          ? `The stream ${key} had ${life.count} entries of its writers and has gone back to ${before}: what came behind them is gone.`
          : `The stream ${key} was not there any more and was made anew: what it had is gone.`,
    };
  }

  #callFor(batch: readonly RecordPart[], looks: boolean): Parameters<RedisLink['run']>[1] {
    const { key, maxlen = 0, rememberMs } = this.#options;
    const numbers = new Map<string, number>();
    const entries = batch.flatMap(({ part, parts, seq, stream, value }) => {
      const number = numbers.get(stream) ?? numbers.size + 1;
      numbers.set(stream, number);
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      return [String(number), String(seq), String(part), String(parts), bytes];
    });
    const streams = [...numbers.keys()];
    const { life = '', stream: was = ['', '', ''] } = this.#seen ?? {};
    const seen = [looks ? '1' : '0', life, ...was, String(this.#life?.count ?? 0)];
    return {
      script: addScript,
      keys: [key, keyBeside(key, 'life'), ...streams.map((stream) => keyBeside(key, `last:${stream}`))],
      words: [String(maxlen), String(rememberMs), randomUUID(), ...seen, ...streams, ...entries],
    };
  }

  async #waitForReplicas(client: RedisClient, signal: AbortSignal): Promise<void> {
    const { link, wait } = this.#options;
    if (wait === 0) return;
    const words = ['WAIT', String(wait), String(link.deadlineMs)];
    const count = Number(await this.#link.call(client, words, signal, link.deadlineMs));
    if (count >= wait) return;
    const where = shownAddress(this.#options.address);
    throw new RedisFailure(
      `${where}: expected ${wait} replicas to have the records within ${link.deadlineMs} ms, got ${count}`,
    );
  }
}

/** The entries of records, as many as one call takes. */
function* batchesOf(records: readonly SinkRecord[], maxEntryBytes: number): Generator<readonly RecordPart[]> {
  let batch: RecordPart[] = [];
  let bytes = 0;
  for (const record of records) {
    for (const part of splitRecord(record, maxEntryBytes)) {
      const isFull = batch.length === maxCallEntries || bytes + part.value.byteLength > maxCallBytes;
      if (batch.length > 0 && isFull) {
        yield batch;
        batch = [];
        bytes = 0;
      }
      batch.push(part);
      bytes += part.value.byteLength;
    }
  }
  if (batch.length > 0) yield batch;
}

function failed(error: RedisFailure): SpillwayError {
  return error.isDenied
    ? new SinkDenied(error.message, { cause: error })
    : new SpillwayError('sink_failed', error.message, { cause: error });
}
