import { randomUUID } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { SpillwayError } from '@spillway/core';
import { expectWhole, invalid } from '@spillway/core/invalid';
import type { ReadLimits, RecordSource, SourceItem, SourceLag } from '@spillway/core/source/record-source';
import type { RedisClient, RedisWord } from '../connection/dial-redis.ts';
import { shownAddress } from '../connection/redis-address.ts';
import { keyBeside, readRedisEndUrl } from '../connection/redis-end-url.ts';
import { RedisFailure } from '../connection/redis-failure.ts';
import { RedisLink, type RedisLinkOptions, type RedisScript } from '../connection/redis-link.ts';
import { expectStream } from './expect.ts';
import { askGroup } from './group-lag.ts';
import { ReadingPlace, type TakenEntries } from './reading-place.ts';
import { openScript, takeScript } from './reading-scripts.ts';
import { jsonOf, type RedisEntry } from './stream-entry.ts';

/** Options of {@link openRedisSource}. */
export interface RedisSourceOptions {
  /** Where Redis is, as for `openRedisSink`; behind `?` `stream`, the key of the stream. Default: `spillway`. */
  readonly url: string;
  /** The group, which the place belongs to: 1 to 128 visible characters of ASCII. It is made where there is none. */
  readonly name: string;
  /** The consumer's name in the group, for whoever looks: as `name`. Default: `spillway`. */
  readonly consumer?: string;
  /**
   * The stream of records that another program has added: 1 to 128 characters of `A-Z a-z 0-9 _ -`. Default: the key, with `_`
   * for other characters.
   */
  readonly stream?: string;
  /**
   * The value of an entry that another program has added. One for which it throws is a gap that says `unreadable`. Default: its
   * fields as an object of JSON, as text.
   */
  readonly decode?: (entry: RedisEntry) => Uint8Array;
  /** A password that is not to stand in the URL. Default: that of the URL. */
  readonly password?: string | undefined;
  /** What TLS trusts, such as `ca`, and with which certificate it answers. Default: as Node. Only with `rediss`. */
  readonly tls?: ConnectionOptions | undefined;
  /** How long a connection may take, with TLS and login, in milliseconds: 1 to 2^31 − 1. Default: 5000. */
  readonly openTimeoutMs?: number;
  /** How long Redis may take for an answer, in milliseconds: 10 to 600,000. Then the call rejects. Default: 10,000. */
  readonly deadlineMs?: number;
}

/** So long Redis holds an answer back while nothing is there. */
const blockMs = 5000;
/** The ids of one command. */
const maxIds = 1000;

/**
 * Opens a stream of Redis to read it as a consumer group: records that a sink has added, and entries of any other program. Redis
 * has to be of version 7 or newer, or Valkey: older ones cannot tell what they have removed.
 *
 * The place is the group of the name, with what it was given and has not acknowledged, and a hash beside the stream,
 * `{STREAM}:reader:NAME`. A source that is opened takes over what others of the name have not acknowledged; the one before it then
 * rejects with `source_failed`, so that of two programs the newer one reads.
 *
 * An entry of another program is a record of `stream`, with a `seq` that is made of its id: it ascends, and has holes. What was
 * trimmed or deleted before it was read is a gap. Its places are ids, `MS-NUMBER`; the reason is `removed`, or `forgotten` where
 * the whole stream was, `incomplete` where parts of a split record are missing, `unreadable` where `decode` throws.
 *
 * The lag counts entries: a split record is several, and trimmed ones may be among them, so that it is a bound. It knows no
 * `bytes`, and its `ms` are by the ids.
 *
 * A read that waits holds one connection, and is aborted at once by ending it. Acknowledgements have another one.
 *
 * @throws {SpillwayError} `invalid_option` for the URL or an option; `source_failed` when Redis is away or too old.
 * @example
 * ```ts
 * import { openRedisSource } from '@spillway/redis';
 *
 * const source = await openRedisSource({ url: 'redis://127.0.0.1:6379?stream=llm', name: 'search-index' });
 * const items = await source.read({ maxItems: 100 }, AbortSignal.timeout(60_000));
 * // … and when they are done with:
 * await source.acknowledge(items, AbortSignal.timeout(5000));
 * await source.close();
 * ```
 */
export async function openRedisSource(options: RedisSourceOptions): Promise<RecordSource> {
  const {
    consumer = 'spillway',
    deadlineMs = 10_000,
    name,
    openTimeoutMs = 5000,
    password,
    tls,
    url,
  } = options;
  const { address: read, key } = readRedisEndUrl(url, []);
  const address = password === undefined ? read : { ...read, password };
  const { decode = jsonOf, stream = key.slice(0, 128).replace(/[^\w-]/g, '_') } = options;
  expectName('name', name);
  expectName('consumer', consumer);
  if (!/^[\w-]{1,128}$/.test(stream))
    throw invalid(`stream: expected 1 to 128 characters of A-Z a-z 0-9 _ -, got ${JSON.stringify(stream)}.`);
  expectWhole('openTimeoutMs', openTimeoutMs, 1, 2 ** 31 - 1);
  expectWhole('deadlineMs', deadlineMs, 10, 600_000);
  const link = { address, tls, openTimeoutMs, deadlineMs };
  const source = new GroupSource(link, { key, group: name, consumer }, new ReadingPlace({ stream, decode }));
  await source.open();
  return source;
}

interface Group {
  readonly key: string;
  readonly group: string;
  readonly consumer: string;
}

class GroupSource implements RecordSource {
  readonly #options: RedisLinkOptions;
  readonly #group: Group;
  readonly #place: ReadingPlace;
  readonly #owner = randomUUID();
  /** Held up by a read that waits. */
  readonly #reading: RedisLink;
  readonly #acknowledging: RedisLink;
  readonly #closing = new AbortController();

  constructor(options: RedisLinkOptions, group: Group, place: ReadingPlace) {
    this.#options = options;
    this.#group = group;
    this.#place = place;
    this.#reading = new RedisLink(options);
    this.#acknowledging = new RedisLink(options);
  }

  async open(): Promise<void> {
    const { signal } = this.#closing;
    try {
      await this.#reading.use(signal, async (client) => {
        const call = (words: readonly string[]): Promise<unknown> =>
          this.#reading.call(client, words, signal);
        await expectStream(this.#group.key, call);
        const [, version = ''] = /redis_version:([\d.]+)/.exec(String(await call(['INFO', 'server']))) ?? [];
        if (Number.parseInt(version, 10) < 7)
          throw new RedisFailure(
            `${this.#where}: expected Redis 7 or newer, which tells what it has removed, got ${version}`,
          );
        await this.#run(client, openScript, [], signal);
      });
    } catch (error) {
      this.#reading.close();
      throw this.#told(error);
    }
  }

  async read(limits: ReadLimits, signal: AbortSignal): Promise<readonly SourceItem[]> {
    const { maxBytes = 1_048_576, maxItems } = limits;
    expectWhole('maxItems', maxItems, 1, 10_000);
    expectWhole('maxBytes', maxBytes, 1, Number.MAX_SAFE_INTEGER);
    for (;;) {
      this.#expectOpen(signal);
      const items = this.#place.give(maxItems, maxBytes);
      if (items.length > 0) return items;
      try {
        await this.#reading.use(signal, (client) => this.#take(client, maxItems, maxBytes, signal));
      } catch (error) {
        throw this.#told(error);
      }
    }
  }

  async acknowledge(items: readonly SourceItem[], signal: AbortSignal): Promise<void> {
    this.#expectOpen(signal);
    const done = this.#place.doneWith(items);
    if (done === undefined)
      throw invalid('items: expected what this source has given, in that order and without leaving any out.');
    if (done.ids.length === 0 && done.gaps.length === 0) return;
    try {
      const link = this.#acknowledging;
      await link.use(signal, async (client) => {
        await this.#acknowledge(link, client, done.ids, signal);
        for (const gaps of runsOf(done.gaps))
          await link.call(client, ['HDEL', this.#readerKey, ...gaps], signal);
      });
    } catch (error) {
      throw this.#told(error);
    }
    this.#place.acknowledged(done.order);
  }

  async lag(signal: AbortSignal): Promise<SourceLag> {
    this.#expectOpen(signal);
    const { group, key } = this.#group;
    try {
      const { entries = 0, ms } = await askGroup(this.#options, key, group, signal);
      return { records: entries, bytes: undefined, ms: entries === 0 ? 0 : ms };
    } catch (error) {
      throw this.#told(error);
    }
  }

  close(): Promise<void> {
    this.#closing.abort();
    this.#reading.close();
    this.#acknowledging.close();
    return Promise.resolve();
  }

  /** Takes what there is, or waits until there is something. */
  async #take(client: RedisClient, maxItems: number, maxBytes: number, signal: AbortSignal): Promise<void> {
    const known = this.#place.known.slice();
    await this.#acknowledge(this.#reading, client, known, signal);
    this.#place.dropKnown(known.length);
    const words = [this.#place.cursor, String(maxItems), String(maxBytes)];
    const reply = (await this.#run(client, takeScript, words, signal)) as readonly unknown[];
    const [isOwner, isForgotten, isWhole, last, entries, gaps] = reply;
    if (String(isOwner) === '0')
      throw new RedisFailure(
        `${this.#where}: the source ${this.#group.group} was opened again, and that one reads. Close this one.`,
      );
    const taken = {
      isForgotten: String(isForgotten) === '1',
      isWhole: String(isWhole) === '1',
      entries: entriesOf(entries),
      gaps: (gaps as readonly (readonly Buffer[])[]).map(
        ([name, text]) => [String(name), String(text)] as const,
      ),
    };
    this.#place.take(taken);
    if (taken.entries.length > 0 || !taken.isWhole) return;
    // What comes is given to the group by the script: one that is aborted here has taken nothing.
    const wait = ['XREAD', 'COUNT', '1', 'BLOCK', String(blockMs), 'STREAMS', this.#group.key, String(last)];
    if (this.#place.isEmpty) await this.#reading.call(client, wait, signal, blockMs);
  }

  async #run(
    client: RedisClient,
    script: RedisScript,
    words: readonly RedisWord[],
    signal: AbortSignal,
  ): Promise<unknown> {
    const { consumer, group, key } = this.#group;
    const call = { script, keys: [key, this.#readerKey], words: [group, consumer, this.#owner, ...words] };
    return this.#reading.run(client, call, signal);
  }

  async #acknowledge(
    link: RedisLink,
    client: RedisClient,
    ids: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const { group, key } = this.#group;
    for (const run of runsOf(ids)) await link.call(client, ['XACK', key, group, ...run], signal);
  }

  get #readerKey(): string {
    return keyBeside(this.#group.key, `reader:${this.#group.group}`);
  }

  get #where(): string {
    return shownAddress(this.#options.address);
  }

  #expectOpen(signal: AbortSignal): void {
    if (this.#closing.signal.aborted) throw closed();
    signal.throwIfAborted();
  }

  #told(error: unknown): unknown {
    if (!(error instanceof RedisFailure)) return error;
    if (this.#closing.signal.aborted) return closed();
    return new SpillwayError('source_failed', error.message, { cause: error });
  }
}

function entriesOf(entries: unknown): TakenEntries['entries'] {
  return (entries as readonly (readonly [Buffer, readonly Buffer[] | null])[]).map(([id, words]) => {
    const fields: (readonly [string, Uint8Array])[] = [];
    for (const [index, word] of (words ?? []).entries()) {
      const name = words?.[index - 1];
      if (index % 2 === 1 && name !== undefined) fields.push([String(name), word]);
    }
    return { id: String(id), fields: words === null ? undefined : fields };
  });
}

function* runsOf(names: readonly string[]): Generator<readonly string[]> {
  for (let at = 0; at < names.length; at += maxIds) yield names.slice(at, at + maxIds);
}

function expectName(what: string, name: string): void {
  if (/^[\x21-\x7e]{1,128}$/.test(name)) return;
  throw invalid(`${what}: expected 1 to 128 visible characters of ASCII, got ${JSON.stringify(name)}.`);
}

function closed(): SpillwayError {
  return new SpillwayError('source_closed', 'This source on Redis is closed. Open another one.');
}
