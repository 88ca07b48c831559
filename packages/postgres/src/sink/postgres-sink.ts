import { type Durability, type SinkRecord, SpillwayError } from '@spillway/core';
import {
  type EngineFacts,
  type EngineSink,
  type EngineSinkOptions,
  GradeAge,
  RefusedRecords,
  type RecordPart,
  SinkDenied,
  splitProblem,
  splitRecord,
  withoutSecret,
} from '@spillway/core/engine';
import { expectWhole, invalid } from '@spillway/core/invalid';
import { expectRecords } from '@spillway/core/sink/expect-records';
import { WriteTurn } from '@spillway/core/sink/write-turn';
import { type PostgresAddress, readPostgresUrl, shownAddress } from '../connection/postgres-address.ts';
import {
  isAboutTls,
  isAnswer,
  isDenial,
  refusalOf,
  sqlState,
  wordsOf,
} from '../connection/postgres-failure.ts';
import { PostgresSession } from '../connection/postgres-session.ts';
import { tlsChoices } from '../connection/tls-choices.ts';
import { RecordTable, statementsOf, valuesOf } from './record-table.ts';
import { type ServerGrade, serverGrade } from './server-grade.ts';

/** Options of {@link openPostgresSink}. */
export interface PostgresSinkOptions extends EngineSinkOptions {
  /** The table, with or without its schema, as `audit.llm`. Default: that of the URL, or `spillway_records`. */
  readonly table?: string;
  /** Whether the table is made when it is not there. Default: that of the URL, or `true`. */
  readonly create?: boolean;
  /**
   * Whether each value is kept a second time, as `jsonb` in the column `record`. What is no JSON, or has a U+0000, is then
   * refused with `records_refused`. Records of several parts have none. Default: that of the URL, or `false`.
   */
  readonly json?: boolean;
}

/** One field takes 1 GB. The server holds what it takes several times. */
const defaultEntryBytes = 67_108_864;

/**
 * Opens a sink that writes records into a table of PostgreSQL: one statement for a batch, up to 8 MiB and 10,000 rows each.
 * The key of the table is (stream, seq, part), so that a record that is written again adds nothing, for as long as its row
 * is there.
 *
 * The URL is one of libpq: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, several hosts with commas between them (the first
 * one that takes writes is used), with `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSWORD`, `PGPASSFILE`, `PGSSLMODE`,
 * `PGSSLROOTCERT`, `PGSSLCERT` and `PGSSLKEY` for what is left out. Parameters: `table`, `create=0`, `json=1`, `sslmode`,
 * `sslrootcert`, `sslcert`, `sslkey`, `application_name`, and `host` for the folder of a Unix socket.
 *
 * One connection, and nothing that waits for one: a write that finds none makes one. A write that is aborted ends its
 * connection, and the statement on the server. With another `maxEntryBytes` than before, a record that was written in part
 * and is written again may be broken: keep it as it is.
 *
 * @throws {SpillwayError} `invalid_option` for an option, for the URL, and for a table that is not as it has to be, with the
 * SQL that makes it; `sink_failed` when PostgreSQL is away or refuses.
 * @example
 * ```ts
 * import { openPostgresSink } from '@spillway/postgres';
 *
 * const sink = await openPostgresSink({ url: 'postgres://writer@db.internal/llm?sslmode=verify-full', table: 'answers' });
 * const value = new TextEncoder().encode('{"text":"hello"}');
 * await sink.write([{ stream: 's1', seq: 0, value }], AbortSignal.timeout(5000));
 * await sink.close();
 * ```
 */
export async function openPostgresSink(options: PostgresSinkOptions): Promise<EngineSink> {
  const { maxEntryBytes = defaultEntryBytes, openTimeoutMs = 5000, password, url } = options;
  expectWhole('openTimeoutMs', openTimeoutMs, 1, 2 ** 31 - 1);
  expectWhole('maxEntryBytes', maxEntryBytes, 1024, 2 ** 29);
  const read = readPostgresUrl(url);
  const { parameters } = read;
  const table = new RecordTable(
    options.table ?? parameters.get('table') ?? 'spillway_records',
    options.json ?? flagOf(parameters, 'json', false),
  );
  const sink = new PostgresSink({
    address: password === undefined ? read : { ...read, password },
    table,
    mayCreate: options.create ?? flagOf(parameters, 'create', true),
    maxEntryBytes,
    openTimeoutMs,
    isTrial: options.isTrial ?? false,
  });
  await sink.open();
  return sink;
}

interface SinkSetup {
  readonly address: PostgresAddress;
  readonly table: RecordTable;
  readonly mayCreate: boolean;
  readonly maxEntryBytes: number;
  readonly openTimeoutMs: number;
  readonly isTrial: boolean;
}

/** A part, and the record that it is one of. */
interface Row {
  readonly record: SinkRecord;
  readonly part: RecordPart;
}

class PostgresSink implements EngineSink {
  readonly address: string;
  readonly #setup: SinkSetup;
  #grade: ServerGrade | undefined;
  readonly #gradeAge = new GradeAge();
  #forgot: EngineFacts['forgot'];
  #durability: Durability = 'memory';
  #session: PostgresSession | undefined;
  /** Sessions that are being ended. */
  readonly #parting = new Set<Promise<void>>();
  readonly #turn: WriteTurn;

  constructor(setup: SinkSetup) {
    this.#setup = setup;
    const { address, table } = setup;
    this.address = `${shownAddress(address)}?table=${encodeURIComponent(table.name.replaceAll('"', ''))}`;
    this.#turn = new WriteTurn(`The sink to ${this.address}`);
  }

  get durability(): Durability {
    return this.#durability;
  }

  get facts(): EngineFacts {
    const { engine = 'PostgreSQL', durability = '', warnings = [] } = this.#grade ?? {};
    const duplicates = `for as long as its row is in the table, by the key (stream, seq, part)`;
    return { engine, durability, duplicates, warnings, forgot: this.#forgot };
  }

  async open(): Promise<void> {
    const { signal } = new AbortController();
    this.#session = await this.#connect(signal).catch((error: unknown) => {
      throw error instanceof SpillwayError ? error : this.#failure(error);
    });
    if (this.#grade?.isSynced === true) this.#durability = 'fsync';
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    return this.#turn.write(signal, () => this.#write(records, signal));
  }

  close(): Promise<void> {
    return this.#turn.close(async (work) => {
      await work;
      await Promise.all([this.#session?.close(), ...this.#parting]);
    });
  }

  async #write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    expectRecords(records);
    const { maxEntryBytes } = this.#setup;
    const refused = new Map<SinkRecord, string>();
    const rows = records.flatMap((record) => {
      const reason = splitProblem(record, maxEntryBytes);
      if (reason !== undefined) refused.set(record, reason);
      return reason === undefined ? splitRecord(record, maxEntryBytes).map((part) => ({ record, part })) : [];
    });
    try {
      for (const statement of statementsOf(rows)) await this.#insert(statement, refused, signal);
    } catch (error) {
      this.#abandon();
      throw signal.aborted ? signal.reason : this.#failure(error);
    }
    if (refused.size > 0)
      throw new RefusedRecords([...refused].map(([record, reason]) => ({ record, reason })));
  }

  /** Adds rows in one statement. One that is refused is found by halves, so that the others are kept. */
  async #insert(rows: readonly Row[], refused: Map<SinkRecord, string>, signal: AbortSignal): Promise<void> {
    try {
      await this.#run(valuesOf(rows.map(({ part }) => part)), signal);
    } catch (error) {
      const reason = refusalOf(error);
      const [first] = rows;
      if (reason === undefined || first === undefined) throw error;
      if (rows.length === 1) {
        refused.set(first.record, reason);
        return;
      }
      const half = Math.ceil(rows.length / 2);
      await this.#insert(rows.slice(0, half), refused, signal);
      await this.#insert(rows.slice(half), refused, signal);
    }
  }

  async #run(values: readonly Buffer[], signal: AbortSignal): Promise<void> {
    const { insertion } = this.#setup.table;
    const known = this.#session;
    if (known?.isLost === false) {
      try {
        if (this.#gradeAge.isOld) await this.#learnGrade(known, signal);
        await known.run(insertion, values, signal);
        return;
      } catch (error) {
        // It may have been lost since the last write, without a word. A new one says what is wrong now.
        if (signal.aborted || isAnswer(error)) throw error;
        this.#abandon();
      }
    }
    this.#session = await this.#connect(signal);
    await this.#session.run(insertion, values, signal);
  }

  /** The first of the hosts that takes writes. What is left of the time is shared by those that are left. */
  async #connect(signal: AbortSignal): Promise<PostgresSession> {
    const { address, openTimeoutMs } = this.#setup;
    const choices = await tlsChoices(address.parameters);
    const targets = address.hosts.flatMap((host) => choices.map((tls) => ({ address, host, tls })));
    const endMs = performance.now() + openTimeoutMs;
    const problems: unknown[] = [];
    for (const [index, target] of targets.entries()) {
      const shareMs = Math.ceil(Math.max(1, (endMs - performance.now()) / (targets.length - index)));
      const late = AbortSignal.timeout(shareMs);
      const limit = AbortSignal.any([signal, late]);
      let session: PostgresSession | undefined;
      try {
        session = await PostgresSession.open(target, limit);
        await this.#check(session, limit);
        return session;
      } catch (error) {
        if (session !== undefined) this.#part(session.abandon());
        signal.throwIfAborted();
        problems.push(late.aborted ? new Error(`no connection within ${openTimeoutMs} ms`) : error);
      }
    }
    const wrong = problems.find((problem) => problem instanceof SpillwayError);
    // No answer to a statement: what it says is about no row.
    // Behind a try with TLS there is one without it, which says what is wrong.
    const telling = problems.filter((problem) => !isAboutTls(problem));
    const words = [...new Set((telling.length > 0 ? telling : problems).map(wordsOf))].join('; ');
    throw wrong ?? new Error(words, { cause: problems.find(isDenial) });
  }

  /** Sees to the table, and learns what the server keeps. */
  async #check(session: PostgresSession, signal: AbortSignal): Promise<void> {
    const { isTrial, mayCreate, table } = this.#setup;
    let isMissing = false;
    // An insertion of nothing: what is wrong with the table, with its key or with rights is said of it, too.
    const tryTable = (): Promise<unknown> => session.run(table.insertion, valuesOf([]), signal);
    try {
      await tryTable().catch(async (error: unknown) => {
        if (!mayCreate || sqlState(error) !== '42P01') throw error;
        isMissing = isTrial;
        if (isTrial) {
          // Whether it can be made shows when it is made, and nobody sees one that is taken back.
          for (const step of ['BEGIN', table.definition, 'ROLLBACK']) await session.run(step, [], signal);
          return;
        }
        await session.run(table.definition, [], signal).catch((creation: unknown) => {
          // Another program has made it at the same time.
          if (!['23505', '42P07'].includes(sqlState(creation) ?? '')) throw creation;
        });
        await tryTable();
      });
    } catch (error) {
      // It is not there, lacks a column or its key, has other types, or is no table.
      if (!['42P01', '42703', '42P10', '42804', '42809'].includes(sqlState(error) ?? '')) throw error;
      throw invalid(
        `table ${table.name}: expected one as made by the following, got: ${wordsOf(error)}.\n${table.definition};`,
      );
    }
    await this.#learnGrade(session, signal, isMissing);
  }

  async #learnGrade(session: PostgresSession, signal: AbortSignal, isMissing = false): Promise<void> {
    const { table } = this.#setup;
    // A table that is made is logged, as those of the catalogue are.
    const name = isMissing ? 'pg_catalog.pg_class' : table.name;
    const asked = await this.#gradeAge.ask(() => serverGrade(session, name, signal));
    const missing = `The table ${table.name} is not there: whoever opens it to write makes it (create=0 in the URL forbids that).`;
    const grade = isMissing ? { ...asked, warnings: [missing, ...asked.warnings] } : asked;
    if (this.#durability === 'fsync' && !grade.isSynced)
      throw new Error(
        `expected a server that syncs what it acknowledges, as at the start, got: ${grade.durability}`,
      );
    // Whoever has made it.
    if (this.#grade !== undefined && this.#grade.tableId !== grade.tableId)
      this.#forgot = {
        times: (this.#forgot?.times ?? 0) + 1,
        why: `The table ${table.name} was not there any more and was made anew: what it had is gone.`,
      };
    this.#grade = grade;
  }

  #abandon(): void {
    const session = this.#session;
    this.#session = undefined;
    if (session !== undefined) this.#part(session.abandon());
  }

  #part(ending: Promise<void>): void {
    const parting = ending.finally(() => this.#parting.delete(parting));
    this.#parting.add(parting);
  }

  /** Once it was open nothing is wrong with what is written: a sink that says so would be given no record again. */
  #failure(error: unknown): SpillwayError {
    const words = error instanceof SpillwayError ? error.message : wordsOf(error);
    const { password } = this.#setup.address;
    const message = `${this.address}: ${withoutSecret(words, password).slice(0, 1000)}`;
    const denied = isDenial(error) || (error instanceof Error && isDenial(error.cause));
    return denied ? new SinkDenied(message) : new SpillwayError('sink_failed', message);
  }
}

function flagOf(parameters: ReadonlyMap<string, string>, name: string, otherwise: boolean): boolean {
  const text = parameters.get(name);
  if (text === undefined) return otherwise;
  if (text !== '0' && text !== '1') throw invalid(`url of PostgreSQL: expected ${name}=0 or ${name}=1.`);
  return text === '1';
}
