import { SpillwayError } from '@spillway/core';
import { expectWhole, invalid } from '@spillway/core/invalid';
import { orAborted } from '@spillway/core/or-aborted';
import type { ReadLimits, RecordSource, SourceItem, SourceLag } from '@spillway/core/source/record-source';
import { type NatsAddress, readNatsUrl, shownAddress } from '../connection/nats-address.ts';
import { NatsFailure } from '../connection/nats-failure.ts';
import { NatsLink } from '../connection/nats-link.ts';
import { ageBehind } from '../jetstream/group-lag.ts';
import { JetStreamApi, type StreamInfo } from '../jetstream/jetstream-api.ts';
import { ArrivedRecords } from './arrived-records.ts';
import { type Arrival, PullSession } from './pull-session.ts';
import { type Place, type Range, ReadingPlace } from './reading-place.ts';

/** A message that no sink of Spillway wrote. */
export interface NatsEntry {
  readonly subject: string;
  /** Its number in the JetStream stream. */
  readonly seq: number;
  /** When it was written, in milliseconds of Unix time. */
  readonly writtenMs: number;
  /** The values of a header; none: it has no such header. */
  readonly header: (name: string) => readonly string[];
  readonly body: Uint8Array;
}

/** Who reads a stream of JetStream. */
export interface NatsSourceOptions {
  /**
   * `nats://HOST:PORT/STREAM`, as of a sink. Behind a question mark: `subject`, a pattern of the subjects that are read, such as
   * `llm.*` (default: all of the stream), and `timeoutMs`, `domain`, `creds`, `nkey`, `tlsca`, `tlscert`, `tlskey` as of a sink.
   */
  readonly url: string;
  /** The reader's name, and that of its durable consumer: 1 to 64 characters of `A-Z a-z 0-9 _ -`. */
  readonly name: string;
  /** A password that is not to stand in the URL. Default: that of the URL. */
  readonly password?: string | undefined;
  /** How long the opening may take, in milliseconds: 1 to 2^31 − 1. Default: 5000. */
  readonly openTimeoutMs?: number;
  /**
   * The `stream` of records that are made of messages of other programs; their `seq` is the message's number. Default: the name
   * of the JetStream stream, with `_` for what a stream's name may not have.
   */
  readonly stream?: string;
  /** Makes the value of such a record. Default: the message's body. Must not throw. */
  readonly decode?: (entry: NatsEntry) => Uint8Array;
}

/** A waiting read asks anew after so long: so late a connection is found to be dead, and 5 s more. */
const waitMs = 10_000;

/**
 * Opens a stream of NATS JetStream to read it, in the order in which it was written: records of a sink of Spillway, put together
 * from their parts, and messages of other programs, as records of a stream of their own.
 *
 * The place of the name is in the bucket `spillway` of NATS's key-value store (made where there is none), under `STREAM.NAME`,
 * and is kept there when an acknowledgement resolves; a name that is new gets one at once. The durable consumer of that name is
 * made anew with each connection, from that place on, and follows it: `nats consumer report` and exporters see how far the
 * reader is behind. It has no bound of its own on what is not acknowledged (`max_ack_pending`): what is under way is what
 * `read` was asked for. Only one program at a time may read under a name.
 *
 * A gap's `from` and `to` are numbers of messages, and its `reason` is `removed` (by a limit of the stream, a purge, or one by
 * one), `incomplete` (some parts of a record are missing), `cut` (the stream has lost its end: it is read from its beginning) or
 * `forgotten` (it was made anew: it is read from its beginning, `from` and `to` are the next number of the old one, and how
 * much is gone nobody knows). With `subject` only what was removed from the beginning of the stream
 * is told, and `maxRecords` counts other subjects, too. The lag counts messages, of which a record may have several, and
 * knows no `bytes`; its age is by this machine's clock.
 *
 * @throws {SpillwayError} `invalid_option` for the URL or another option; `source_failed` when NATS is away, there is no such
 * stream, or it removes what was read (its retention is not `limits`). The same
 * rejects a later call.
 * @example
 * ```ts
 * import { openNatsSource } from '@spillway/nats';
 * import { copyRecords } from '@spillway/core/copy-records';
 *
 * const source = await openNatsSource({ url: 'nats://127.0.0.1:4222/llm', name: 'search-index' });
 * const stop = new AbortController();
 * process.once('SIGTERM', () => stop.abort());
 * await copyRecords(source, index, { signal: stop.signal });
 * await source.close();
 * ```
 */
export async function openNatsSource(options: NatsSourceOptions): Promise<RecordSource> {
  const { name, openTimeoutMs = 5000, password, stream, url } = options;
  const read = readNatsUrl(url, ['subject']);
  const address = password === undefined ? read : { ...read, password };
  if (!/^[\w-]{1,64}$/.test(name))
    throw invalid(`name: expected 1 to 64 characters of A-Z a-z 0-9 _ -, got ${JSON.stringify(name)}.`);
  if (stream !== undefined && !/^[\w-]{1,128}$/.test(stream))
    throw invalid(`stream: expected 1 to 128 characters of A-Z a-z 0-9 _ -, got ${JSON.stringify(stream)}.`);
  expectWhole('openTimeoutMs', openTimeoutMs, 1, 2 ** 31 - 1);
  const source = new JetStreamSource(address, options, openTimeoutMs);
  try {
    await source.open(openTimeoutMs);
    return source;
  } catch (error) {
    await source.close();
    throw error;
  }
}

class JetStreamSource implements RecordSource {
  readonly #address: NatsAddress;
  readonly #where: string;
  readonly #name: string;
  readonly #subject: string | undefined;
  readonly #foreign: (arrival: Arrival) => ReturnType<typeof foreignPart>;
  readonly #link: NatsLink;
  readonly #kept: ReadingPlace;
  readonly #closing = new AbortController();
  readonly #arrivals: Arrival[] = [];
  #records: ArrivedRecords | undefined;
  /** The first message of the stream, when this one was the last that had come. */
  #begin = { until: 0, seq: 0 };
  #session: PullSession | undefined;
  #opening: Promise<PullSession> | undefined;
  #sorting: Promise<void> = Promise.resolve();
  #saving: Promise<unknown> = Promise.resolve();
  /** What was acknowledged is not kept yet. */
  #isUnsaved = false;

  constructor(address: NatsAddress, options: NatsSourceOptions, openTimeoutMs: number) {
    this.#address = address;
    this.#where = shownAddress(address);
    this.#name = options.name;
    this.#subject = address.query.get('subject');
    const { decode = ({ body }) => body, stream = address.stream.replaceAll(/[^\w-]/g, '_').slice(0, 128) } =
      options;
    this.#foreign = (arrival) => foreignPart(arrival, stream, decode);
    this.#link = new NatsLink(address, openTimeoutMs);
    this.#kept = new ReadingPlace(address.stream, options.name);
  }

  async open(timeoutMs: number): Promise<void> {
    const signal = AbortSignal.timeout(timeoutMs);
    await this.#orFailed(signal, async () => {
      try {
        await orAborted(this.#connected(), signal);
      } catch (error) {
        throw error === signal.reason ? new NatsFailure(`no answer within ${timeoutMs} ms`) : error;
      }
    });
  }

  async read(limits: ReadLimits, signal: AbortSignal): Promise<readonly SourceItem[]> {
    const { maxBytes = 1_048_576, maxItems } = limits;
    expectWhole('maxItems', maxItems, 1, 10_000);
    expectWhole('maxBytes', maxBytes, 1, Number.MAX_SAFE_INTEGER);
    return this.#orFailed(signal, (either) =>
      this.#onceMore(async () => {
        for (let isIdle = false; ; isIdle = this.#arrivals.length === 0) {
          const session = await orAborted(this.#connected(), either);
          const records = await this.#sorted(session, either);
          const items = records.take(limits);
          if (items.length > 0) return items;
          // First what is there, of which nothing may fit; then whatever comes next, also what is larger.
          if (isIdle) await orAborted(this.#waitFor(session), either);
          else await orAborted(session.ask(maxItems, maxBytes + 1024), either);
        }
      }),
    );
  }

  async acknowledge(items: readonly SourceItem[], signal: AbortSignal): Promise<void> {
    await this.#orFailed(signal, async (either) => {
      const count = this.#records?.finish(items);
      if (count === undefined)
        throw invalid(
          'items: expected what this source has given, in that order and without leaving any out.',
        );
      this.#isUnsaved ||= count > 0;
      if (!this.#isUnsaved) return;
      await this.#onceMore(() => orAborted(this.#save(), either));
    });
  }

  async lag(signal: AbortSignal): Promise<SourceLag> {
    return this.#orFailed(signal, (either) =>
      this.#onceMore(async () => {
        const session = await orAborted(this.#connected(), either);
        const records = await this.#sorted(session, either);
        const behind = await session.api.consumerInfo(this.#name, either);
        const others = session.givenToOthers(behind);
        const { count, oldestMs } = records.waiting;
        // What came while JetStream was asked.
        const total = behind.num_pending + others + count + this.#arrivals.length;
        if (total === 0) return { records: 0, bytes: undefined, ms: 0 };
        const ms =
          oldestMs === undefined
            ? await ageBehind(session.api, records.position, this.#subject ?? '>', either)
            : Math.max(0, Date.now() - oldestMs);
        return { records: total, bytes: undefined, ms: ms ?? 0 };
      }),
    );
  }

  /** Waits for the next message. What another source of this name was given is to come here, too. */
  async #waitFor(session: PullSession): Promise<void> {
    const consumer = await session.api.consumerInfo(this.#name, this.#closing.signal);
    // All that was asked for has come.
    if (session.givenToOthers(consumer) > 0) session.endForOthers();
    else await session.wait(waitMs);
  }

  async close(): Promise<void> {
    this.#closing.abort(
      new SpillwayError('source_closed', `The source ${this.#where} is closed. Open another one.`),
    );
    await this.#link.close();
    await this.#opening?.catch(() => undefined);
    await this.#saving;
  }

  async #connected(): Promise<PullSession> {
    if (this.#session?.isOver === false) return this.#session;
    this.#opening ??= this.#openSession().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async #openSession(): Promise<PullSession> {
    const { signal } = this.#closing;
    const api = new JetStreamApi(
      await this.#link.connected(signal),
      this.#address.stream,
      this.#address.query.get('domain'),
    );
    const info = await api.streamInfo(signal);
    if (this.#records === undefined) {
      const place = (await this.#kept.load(api, signal)) ?? (await this.#beginPlace(api, info, signal));
      this.#records = new ArrivedRecords(place, this.#foreign);
    }
    // What the last connection was still to bring comes again.
    await this.#sorting;
    this.#expectSame(info, this.#records);
    const consumer = { name: this.#name, from: this.#records.position + 1, subject: this.#subject };
    this.#arrivals.length = 0;
    this.#session = await PullSession.open(
      api,
      consumer,
      (arrival) => void this.#arrivals.push(arrival),
      signal,
    );
    return this.#session;
  }

  /** What is removed from now on is a gap for whoever comes under this name. */
  async #beginPlace(
    api: JetStreamApi,
    { config, created, state }: StreamInfo,
    signal: AbortSignal,
  ): Promise<Place> {
    if (config.retention !== 'limits')
      throw new NatsFailure(
        `stream ${this.#address.stream}: expected the retention limits, got ${config.retention}: it removes what was read.`,
      );
    const place = { created, seq: Math.max(0, state.first_seq - 1), done: [] };
    await this.#kept.save(api, place, signal);
    return place;
  }

  /** A stream that was made anew, or has lost its end, has other messages under the numbers that this name has read. */
  #expectSame({ created, state }: StreamInfo, records: ArrivedRecords): void {
    const { created: known, position } = records;
    if (created === known && state.last_seq >= position) return;
    this.#begin = { until: 0, seq: 0 };
    const begin = Math.max(0, state.first_seq - 1);
    if (created === known) {
      // Of those that are there nobody knows which ones have come since.
      records.restart([state.last_seq + 1, position], 'cut', created, begin);
      return;
    }
    records.restart([position + 1, position + 1], 'forgotten', created, begin);
  }

  /** Makes records of what has come. */
  async #sorted(session: PullSession, signal: AbortSignal): Promise<ArrivedRecords> {
    this.#sorting = this.#sorting.then(() => this.#sort(session));
    await orAborted(this.#sorting, signal);
    if (this.#records === undefined) throw new Error('expected a place, got none');
    return this.#records;
  }

  async #sort(session: PullSession): Promise<void> {
    const records = this.#records;
    if (records === undefined) return;
    try {
      for (let [arrival] = this.#arrivals; arrival !== undefined; [arrival] = this.#arrivals) {
        const missing = await this.#missingBefore(arrival, records.position + 1, session);
        // A connection that was lost meanwhile has begun anew.
        if (session.isOver || arrival !== this.#arrivals[0]) return;
        records.add(arrival, missing);
        this.#arrivals.shift();
      }
    } catch (error) {
      // What was not sorted comes again, with the next connection.
      if (!(error instanceof NatsFailure)) throw error;
      session.end(error);
    }
  }

  /** The messages that are gone, from the one on that should have come. */
  async #missingBefore({ seq }: Arrival, next: number, session: PullSession): Promise<Range | undefined> {
    if (seq <= next) return undefined;
    const { signal } = this.#closing;
    if (this.#subject !== undefined) {
      // Between two messages of one subject there may be those of others.
      if (seq > this.#begin.until) {
        // One answer does for all that had come when it was asked for.
        const until = this.#arrivals.at(-1)?.seq ?? seq;
        this.#begin = { until, seq: (await session.api.streamInfo(signal)).state.first_seq };
      }
      const { seq: first } = this.#begin;
      return first > next ? [next, Math.min(seq, first) - 1] : undefined;
    }
    const found = await session.api.message({ seq: next, next_by_subj: '>' }, signal);
    if (found === undefined || found.seq >= seq) return [next, seq - 1];
    // The consumer was another source's of this name.
    session.endForOthers();
    return undefined;
  }

  /** Keeps the place. One at a time: one that was aborted may still be at work. */
  async #save(): Promise<void> {
    const saving = this.#saving.then(() => this.#saveNow());
    this.#saving = saving.catch(() => undefined);
    return saving;
  }

  async #saveNow(): Promise<void> {
    const session = await this.#connected();
    const records = this.#records;
    if (records === undefined) return;
    const { last, place } = records.place();
    this.#isUnsaved = false;
    try {
      await this.#kept.save(session.api, place, this.#closing.signal);
    } catch (error) {
      this.#isUnsaved = true;
      throw error;
    }
    last?.acknowledge();
  }

  /** A connection that was lost unnoticed, while nothing was under way, is made anew once. */
  async #onceMore<Value>(work: () => Promise<Value>): Promise<Value> {
    const before = this.#session;
    try {
      return await work();
    } catch (error) {
      if (before?.isOver !== true || !(error instanceof NatsFailure)) throw error;
      return work();
    }
  }

  async #orFailed<Value>(signal: AbortSignal, work: (either: AbortSignal) => Promise<Value>): Promise<Value> {
    this.#closing.signal.throwIfAborted();
    signal.throwIfAborted();
    try {
      return await work(AbortSignal.any([this.#closing.signal, signal]));
    } catch (error) {
      // What ends with the source says so.
      this.#closing.signal.throwIfAborted();
      if (!(error instanceof NatsFailure)) throw error;
      const message = error.message.startsWith(this.#where)
        ? error.message
        : `${this.#where}: ${error.message}`;
      throw new SpillwayError('source_failed', message, { cause: error });
    }
  }
}

function foreignPart(
  { message, seq, writtenMs }: Arrival,
  stream: string,
  decode: (entry: NatsEntry) => Uint8Array,
): { stream: string; seq: number; part: number; parts: number; value: Uint8Array } {
  const entry: NatsEntry = {
    subject: message.subject,
    seq,
    writtenMs,
    header: (name) => message.headers?.values(name) ?? [],
    body: message.data,
  };
  return { stream, seq, part: 0, parts: 1, value: decode(entry) };
}
