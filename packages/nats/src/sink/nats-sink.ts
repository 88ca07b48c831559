import { type Durability, type SinkRecord, SpillwayError } from '@spillway/core';
import {
  type EngineFacts,
  type EngineSink,
  type EngineSinkOptions,
  GradeAge,
  type GroupLag,
  type RefusedRecord,
  RefusedRecords,
  SinkDenied,
  splitProblem,
} from '@spillway/core/engine';
import { expectWhole, invalid } from '@spillway/core/invalid';
import { expectRecords } from '@spillway/core/sink/expect-records';
import {
  type NatsAddress,
  natsUrls,
  readNatsUrl,
  readSubject,
  shownAddress,
} from '../connection/nats-address.ts';
import { NatsFailure } from '../connection/nats-failure.ts';
import { NatsLink } from '../connection/nats-link.ts';
import {
  JetStreamApi,
  JetStreamRefusal,
  type StreamCreation,
  type StreamConfig,
  streamNotFound,
} from '../jetstream/jetstream-api.ts';
import { groupLag } from '../jetstream/group-lag.ts';
import { SubjectLog } from './subject-log.ts';
import { type StreamFacts, streamFacts } from './stream-facts.ts';

/** How a sink of JetStream is opened. */
export interface NatsSinkOptions extends EngineSinkOptions {
  /**
   * `nats://HOST:PORT/STREAM`, with `tls://` by TLS; `USER:PASSWORD@` or `TOKEN@` before the host, and servers of one cluster
   * with commas between them. Without a port: 4222; without a stream: `spillway`. Behind a question mark:
   *
   * - `subject`: records go to `SUBJECT.ID` with the id of their Spillway stream. Default: the name of the JetStream stream.
   * - `create=1`: the stream is made where there is none: in files, with `discard new`, and `replicas` (1 to 5, default 1),
   *   `maxBytes` (default: no limit) and `maxAgeMs` (default: for ever).
   * - `maxUnderWay`: the messages that may be sent and not be acknowledged, 1 to 1000; they have 8 MiB together, or it is one.
   *   Default: 64.
   * - `timeoutMs`: how long an answer may take, 1 to 600,000. Default: 5000.
   * - `domain`: the JetStream domain.
   * - `creds`, `nkey`: a file with credentials or with the seed of an nkey.
   * - `tls=1`: as `tls://`. `tlsca`, `tlscert`, `tlskey`: files in PEM; each asks for TLS. A server that wants TLS gets it anyhow.
   */
  readonly url: string;
}

const maxUnderWayBytes = 8_388_608;
/** What a message has beside its value: a subject, and headers with a stream's name of 128 characters twice. */
const headerBytes = 1024;

/**
 * Opens a sink that writes records into a stream of NATS JetStream: each is a message with the record's value as its body, and
 * its stream and number in its headers, `Spillway-Stream` and `Spillway-Seq`. Records larger than a message may be are split
 * (`Spillway-Part`, `Spillway-Parts`).
 *
 * A message names the number of the one before it on its subject, and JetStream refuses it where another one stands. So a record
 * is there once, and those of a stream are in order, for as long as the subject's last message is kept: whoever was cut off,
 * has crashed or is late changes nothing, also after JetStream's duplicate window. Only this sink may write to its subjects. One
 * message of a stream is under way at a time, and those of many streams together.
 *
 * Nothing is queued for a connection that may come: each write makes one where there is none, and rejects at once when that
 * cannot be.
 *
 * Its durability is `replicated` where the stream has more than one replica and `memory` otherwise, also in files: JetStream
 * syncs them every two minutes, and cannot be asked.
 *
 * @throws {SpillwayError} `invalid_option` for the URL or another option; `sink_failed` when NATS is away, or its stream is
 * missing or does not fit.
 * @example
 * ```ts
 * import { openNatsSink } from '@spillway/nats';
 *
 * const sink = await openNatsSink({ url: 'nats://127.0.0.1:4222/llm?create=1' });
 * const value = new TextEncoder().encode('{"hello":"world"}');
 * await sink.write([{ stream: 's1', seq: 0, value }], AbortSignal.timeout(5000));
 * await sink.close();
 * ```
 */
export async function openNatsSink(options: NatsSinkOptions): Promise<EngineSink> {
  const { isTrial = false, maxEntryBytes = Infinity, openTimeoutMs = 5000, password, url } = options;
  const read = readNatsUrl(url, ['subject', 'create', 'replicas', 'maxBytes', 'maxAgeMs', 'maxUnderWay']);
  const address = password === undefined ? read : { ...read, password };
  expectWhole('openTimeoutMs', openTimeoutMs, 1, 2 ** 31 - 1);
  if (!(maxEntryBytes >= 1024)) throw invalid(`maxEntryBytes: expected 1024 or more, got ${maxEntryBytes}.`);
  const sink = new JetStreamSink(address, { maxEntryBytes, openTimeoutMs, isTrial });
  try {
    await sink.open(openTimeoutMs);
    return sink;
  } catch (error) {
    await sink.close();
    throw error;
  }
}

class JetStreamSink implements EngineSink {
  readonly address: string;
  readonly #link: NatsLink;
  readonly #domain: string | undefined;
  readonly #stream: string;
  readonly #prefix: string;
  readonly #creation: Omit<StreamConfig & StreamCreation, 'name'> | undefined;
  readonly #isTrial: boolean;
  readonly #maxEntryBytes: number;
  readonly #maxUnderWay: number;
  #facts: StreamFacts | undefined;
  readonly #gradeAge = new GradeAge();
  /** When the stream was made that was written to. */
  #created: string | undefined;
  #forgot: EngineFacts['forgot'];
  #log: SubjectLog | undefined;
  #writing: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(
    address: NatsAddress,
    {
      isTrial,
      maxEntryBytes,
      openTimeoutMs,
    }: Required<Pick<NatsSinkOptions, 'isTrial' | 'maxEntryBytes' | 'openTimeoutMs'>>,
  ) {
    this.#isTrial = isTrial;
    this.address = shownAddress(address);
    this.#stream = address.stream;
    this.#domain = address.query.get('domain');
    this.#prefix = readSubject(address, address.stream);
    this.#creation = readCreation(address, this.#prefix);
    this.#maxUnderWay = natsUrls.whole(address.query, 'maxUnderWay', 1, 1000) ?? 64;
    this.#maxEntryBytes = maxEntryBytes;
    this.#link = new NatsLink(address, openTimeoutMs);
  }

  get durability(): Durability {
    return this.#facts?.grade ?? 'memory';
  }

  /** The stream removes its oldest messages when it is full, read or not: a tap that gates or is lossless is none for it. */
  get isLossy(): boolean {
    return this.#facts?.isLossy ?? false;
  }

  get facts(): EngineFacts {
    const { engine = '', durability = '', duplicates = '', warnings = [] } = this.#facts ?? {};
    return { engine, durability, duplicates, warnings, forgot: this.#forgot };
  }

  async open(timeoutMs: number): Promise<void> {
    const signal = AbortSignal.timeout(timeoutMs);
    await this.#orFailed(async () => {
      try {
        await this.#connected(signal);
      } catch (error) {
        throw error === signal.reason ? new NatsFailure(`no answer within ${timeoutMs} ms`) : error;
      }
    });
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    const writing = this.#write(records, signal);
    this.#writing = writing.catch(() => undefined);
    return writing;
  }

  async lagOf(group: string, signal: AbortSignal): Promise<GroupLag> {
    this.#expectOpen(signal);
    return this.#orFailed(async () => groupLag(await this.#api(signal), group, signal));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#writing;
    await this.#link.close();
  }

  async #write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    this.#expectOpen(signal);
    if (records.length === 0) return;
    expectRecords(records);
    const refused: RefusedRecord[] = [];
    await this.#orFailed(async () => {
      const kept = this.#log;
      try {
        await this.#writeOnce(records, refused, signal);
      } catch (error) {
        if (kept?.wire.isLost !== true || !(error instanceof NatsFailure)) throw error;
        // The connection was lost while nothing was written, most likely. Nobody had noticed.
        await this.#writeOnce(records, refused, signal);
      }
    });
    if (refused.length > 0) throw new RefusedRecords(refused);
  }

  async #writeOnce(
    records: readonly SinkRecord[],
    refused: RefusedRecord[],
    signal: AbortSignal,
  ): Promise<void> {
    const log = await this.#connected(signal);
    refused.length = 0;
    const taken = records.filter((record) => {
      const reason = splitProblem(record, log.maxEntryBytes);
      if (reason !== undefined) refused.push({ record, reason });
      return reason === undefined;
    });
    // What is sent and has not left this machine must not leave it any more.
    const onAbort = (): void => void log.wire.destroy();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#writeAll(log, taken);
    } catch (error) {
      // The next write looks at the stream anew: it may have been changed.
      this.#log = undefined;
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Writes the streams side by side. When one fails the others end with the message that they have under way. */
  async #writeAll(log: SubjectLog, records: readonly SinkRecord[]): Promise<void> {
    const streams = [...Map.groupBy(records, ({ stream }) => stream)].values();
    const largest = records.reduce((most, { value }) => Math.max(most, value.byteLength), 1);
    const fitting = Math.floor(maxUnderWayBytes / Math.min(largest, log.maxEntryBytes));
    const problems: unknown[] = [];
    const hasFailed = (): boolean => problems.length > 0;
    const work = async (): Promise<void> => {
      for (const [stream, ofStream] of streams) {
        if (hasFailed()) return;
        await log.append(stream, ofStream, hasFailed).catch((error: unknown) => problems.push(error));
      }
    };
    const workers = Math.max(1, Math.min(this.#maxUnderWay, fitting));
    await Promise.all(Array.from({ length: workers }, work));
    if (hasFailed()) throw problems[0];
  }

  async #connected(signal: AbortSignal): Promise<SubjectLog> {
    if (this.#log?.wire.isLost === false && !this.#gradeAge.isOld) return this.#log;
    const api = await this.#api(signal);
    const { config, created, isMissing } = await this.#gradeAge.ask(() => this.#streamConfig(api, signal));
    const facts = streamFacts(config, this.#prefix, api.wire.version);
    if (this.#isTrial && !isMissing) await api.expectRights(this.#prefix, signal);
    const missing = `The stream ${this.#stream} is not there: whoever opens it to write makes it (create=1 in the URL), unless a limit or a right that cannot be asked forbids it.`;
    this.#facts = isMissing ? { ...facts, warnings: [missing, ...facts.warnings] } : facts;
    if (this.#created !== undefined && created !== this.#created)
      this.#forgot = {
        times: (this.#forgot?.times ?? 0) + 1,
        why: `The stream ${this.#stream} was made anew at ${created}, and what the one before it had is gone.`,
      };
    this.#created = created;
    const largest = Math.min(
      api.wire.maxPayloadBytes,
      config.max_msg_size === -1 ? Infinity : (config.max_msg_size ?? Infinity),
    );
    if (largest < 2 * headerBytes)
      throw new NatsFailure(
        `stream ${this.#stream}: expected messages of ${2 * headerBytes} bytes or more, got ${largest} (max_msg_size, or max_payload of the server).`,
      );
    const maxEntryBytes = Math.min(this.#maxEntryBytes, largest - headerBytes);
    // What it knows of the subjects is true as long as its connection stays.
    if (this.#log?.wire !== api.wire || this.#log.maxEntryBytes !== maxEntryBytes)
      this.#log = new SubjectLog(api, this.#prefix, maxEntryBytes);
    return this.#log;
  }

  async #api(signal: AbortSignal): Promise<JetStreamApi> {
    return new JetStreamApi(await this.#link.connected(signal), this.#stream, this.#domain);
  }

  /** The stream as it is; where it is not there and is not to be made, as it would be. */
  async #streamConfig(
    api: JetStreamApi,
    signal: AbortSignal,
  ): Promise<{
    readonly config: StreamConfig;
    readonly created: string | undefined;
    readonly isMissing: boolean;
  }> {
    const asIs = async (): Promise<{ config: StreamConfig; created: string; isMissing: boolean }> => {
      const { config, created } = await api.streamInfo(signal);
      return { config, created, isMissing: false };
    };
    try {
      return await asIs();
    } catch (error) {
      if (!(error instanceof JetStreamRefusal) || error.number !== streamNotFound) throw error;
      if (this.#creation === undefined)
        throw new NatsFailure(
          `there is no stream ${this.#stream}. Make it (nats stream add ${this.#stream} --subjects '${this.#prefix}.*' --discard new), or let the sink make it with create=1.`,
        );
      const creation = { name: this.#stream, ...this.#creation };
      if (this.#isTrial) {
        await this.#expectPossible(creation, api, signal);
        return { config: creation, created: undefined, isMissing: true };
      }
      await api.createStream(creation, signal);
      return await asIs();
    }
  }

  /** Rejects where JetStream would not make the stream, as far as it can be asked. */
  async #expectPossible(
    { name, num_replicas: replicas }: StreamConfig,
    api: JetStreamApi,
    signal: AbortSignal,
  ): Promise<void> {
    if (replicas > 1 && api.wire.isAlone)
      throw new NatsFailure(
        `the stream ${name} cannot be made: expected a cluster for replicas=${replicas}, got a server that is in none. Leave replicas= out, or start the server in a cluster.`,
      );
    const [other] = await api.streamsOf(`${this.#prefix}.*`, signal);
    if (other === undefined) return;
    throw new NatsFailure(
      `the stream ${name} cannot be made: expected subjects ${this.#prefix}.* of no other stream, got some of ${other}. Write to that one, or name other subjects with subject=.`,
    );
  }

  #expectOpen(signal: AbortSignal): void {
    if (this.#isClosed)
      throw new SpillwayError('sink_closed', `The sink ${this.address} is closed. Open another one.`);
    signal.throwIfAborted();
  }

  async #orFailed<Value>(work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof NatsFailure)) throw error;
      const message = error.message.startsWith(this.address)
        ? error.message
        : `${this.address}: ${error.message}`;
      if (error.isDenied) throw new SinkDenied(message, { cause: error });
      throw new SpillwayError('sink_failed', message, { cause: error });
    }
  }
}

/** How the stream is made where there is none. */
function readCreation(
  address: NatsAddress,
  prefix: string,
): Omit<StreamConfig & StreamCreation, 'name'> | undefined {
  const create = natsUrls.whole(address.query, 'create', 0, 1);
  const replicas = natsUrls.whole(address.query, 'replicas', 1, 5);
  const maxBytes = natsUrls.whole(address.query, 'maxBytes', 1, Number.MAX_SAFE_INTEGER);
  const maxAgeMs = natsUrls.whole(address.query, 'maxAgeMs', 1000, 9_000_000_000);
  if (create !== 1) {
    if (replicas ?? maxBytes ?? maxAgeMs)
      throw invalid(
        'url of NATS: replicas, maxBytes and maxAgeMs are of a stream that is made: expected create=1 beside them.',
      );
    return undefined;
  }
  return {
    subjects: [`${prefix}.*`],
    retention: 'limits',
    storage: 'file',
    discard: 'new',
    num_replicas: replicas ?? 1,
    max_consumers: -1,
    max_msgs: -1,
    max_bytes: maxBytes ?? -1,
    max_age: (maxAgeMs ?? 0) * 1_000_000,
  };
}
