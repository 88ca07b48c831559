import { resolve } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { SinkRecord } from '@spillway/core';
import type { ServerClock } from '../time/server-clock.ts';
import { AuditChain, type AuditHead } from './audit-chain.ts';
import { checkpoint, openForWriting, rowOf, transact } from './audit-database.ts';
import type { LogFile } from './log-file.ts';
import { factsOf, type RecordFacts } from './record-index.ts';
import { encrypt, isErasedKey, keyBytes, nonceBytes, placeOf } from './stream-cipher.ts';

/** A stream as it is written: its number in the log, and its key. */
interface OpenStream {
  readonly id: number;
  readonly name: string;
  readonly key: Uint8Array;
}

/** An open log, with the chain that goes on. */
interface Opened {
  readonly db: DatabaseSync;
  readonly file: LogFile;
  readonly statements: Statements;
  /** Begins with the first transaction. */
  chain: AuditChain | undefined;
  /** Where the chain was after the last transaction that was kept. */
  kept: AuditHead | undefined;
}

interface Statements {
  readonly find: StatementSync;
  readonly create: StatementSync;
  readonly createKey: StatementSync;
  readonly begin: StatementSync;
  readonly end: StatementSync;
}

/**
 * Writes an audit log, in the thread that calls it. After a failure nobody knows what of a transaction is on the disk, and
 * an `fsync` that is tried again says nothing: the log is closed, and opened anew with a chain of its own.
 */
export class AuditWriter {
  readonly #path: string;
  readonly #node: string;
  readonly #clock: ServerClock;
  #opened: Opened | undefined;
  /** Where the chain was in a file that has lost its name. */
  #before: AuditHead | undefined;
  /** Why the next write fails: nothing was written when it was found. */
  #lost: Error | undefined;

  constructor(path: string, node: string, clock: ServerClock) {
    this.#path = resolve(path);
    this.#node = node;
    this.#clock = clock;
  }

  /** Keeps records, each once. Returns where the chain is: all up to there is on the disk. */
  write(records: readonly SinkRecord[]): AuditHead {
    return this.change(({ chain, statements }) => {
      const streams = new Map<string, OpenStream>();
      // One draw for all: a draw for each would be a seventh of the time of a write.
      const nonces = this.#clock.randomBytes(nonceBytes * records.length);
      for (const [at, record] of records.entries()) {
        const nonce = nonces.subarray(at * nonceBytes, (at + 1) * nonceBytes);
        this.#add(record, nonce, chain, statements, streams);
      }
    });
  }

  /** Changes the log in one transaction. Returns where the chain is then: all up to there is on the disk. */
  change(work: (log: { db: DatabaseSync; chain: AuditChain; statements: Statements }) => void): AuditHead {
    const lost = this.#lost;
    this.#lost = undefined;
    if (lost !== undefined) throw lost;
    this.#opened ??= this.#open();
    const { db, file, statements } = this.#opened;
    try {
      // A chain counts only when the transaction that it grew in is kept.
      const chain = this.#opened.chain;
      // SQLite's own words for a file that was cut do not say what to do.
      file.expectInPlace();
      const grown = transact(db, () => {
        const next = chain ?? AuditChain.begin(db, this.#node, this.#clock, this.#before);
        work({ db, chain: next, statements });
        return next;
      });
      this.#opened.chain = grown;
      this.#opened.kept = grown.head;
      // What was kept in a file without a name would be lost.
      file.expectInPlace();
      this.#before = undefined;
      return grown.head;
    } catch (error) {
      this.#drop();
      throw error;
    }
  }

  /** Sees that the log has its name still, also when nothing is written. If it has not, the next write fails. */
  watch(): void {
    try {
      this.#opened?.file.expectInPlace();
    } catch (error) {
      this.#lost = error instanceof Error ? error : undefined;
      this.#drop();
    }
  }

  /** The open log, for what is no part of a transaction. */
  get db(): DatabaseSync {
    this.#opened ??= this.#open();
    return this.#opened.db;
  }

  /**
   * Ends the chain, with a record that says so, and closes the log. Does not fail: what was to be kept is kept. Returns
   * where the chain ended; `undefined`: there is none, or its end could not be written.
   */
  close(): AuditHead | undefined {
    try {
      if (this.#opened?.chain === undefined) return undefined;
      return this.change(({ chain }) => chain.note('close', this.#clock.dateMs(), {}));
    } catch {
      // The chain ends without that record, as after a crash.
      return undefined;
    } finally {
      this.#drop();
      // Its write-ahead log could not be emptied into a file that was moved, or must not be into one that was cut.
      if (this.#opened !== undefined) closeAsItIs(this.#opened);
      this.#opened = undefined;
    }
  }

  #open(): Opened {
    const { db, file } = openForWriting(this.#path);
    const statements: Statements = {
      find: db.prepare('SELECT id, key FROM streams JOIN keys ON stream = id WHERE name = ?'),
      create: db.prepare('INSERT INTO streams(name, started) VALUES(?, ?)'),
      createKey: db.prepare('INSERT INTO keys(stream, key) VALUES(?, ?)'),
      begin: db.prepare(
        'UPDATE streams SET tenant = ?, caller = ?, provider = ?, model = ?, request = ? WHERE id = ?',
      ),
      end: db.prepare(
        'UPDATE streams SET ended = ?, state = ?, code = ?, inputTokens = ?, outputTokens = ? WHERE id = ?',
      ),
    };
    return { db, file, statements, chain: undefined, kept: undefined };
  }

  #drop(): void {
    const opened = this.#opened;
    if (opened === undefined || !this.#leave(opened)) return;
    this.#opened = undefined;
    try {
      opened.db.close();
    } catch {
      // It failed before: that is why it is dropped.
    }
    opened.file.letGo();
  }

  /**
   * Gives a file that has lost its name all that was kept in it: SQLite does not do so when it closes one. Returns false if
   * it could not: then it stays open until it can. So does a file that was cut, until it is moved away.
   */
  #leave({ db, file, kept }: Opened): boolean {
    if (file.isInPlace) return !file.isCut;
    try {
      // Who waits for a write is told before long, and it is tried again.
      if (!file.isCut) checkpoint(db, 500);
      file.freeName();
    } catch {
      return false;
    }
    this.#before = kept ?? this.#before;
    return true;
  }

  #add(
    { seq, stream: name, value }: SinkRecord,
    nonce: Uint8Array,
    chain: AuditChain,
    statements: Statements,
    streams: Map<string, OpenStream>,
  ): void {
    const facts = factsOf(value);
    const at = facts.at ?? this.#clock.dateMs();
    const stream = streams.get(name) ?? this.#stream(name, at, statements);
    streams.set(name, stream);
    const isErased = isErasedKey(stream.key);
    // What comes after an erasure is written as if it had been there: nobody has this key.
    const key = isErased ? this.#clock.randomBytes(keyBytes) : stream.key;
    const content = encrypt(key, nonce, placeOf(name, seq), value);
    const isAdded = chain.add({ stream, seq, kind: facts.kind, at, content, isErased });
    if (isAdded) index(stream.id, facts, at, isErased, statements);
  }

  /** Finds a stream, or opens it with a key of its own. Another process may have erased it since the last transaction. */
  #stream(name: string, started: number, { create, createKey, find }: Statements): OpenStream {
    const known = find.get(name);
    if (known !== undefined) return { ...rowOf<{ id: number; key: Uint8Array }>(known), name };
    const id = Number(create.run(name, started).lastInsertRowid);
    const key = this.#clock.randomBytes(keyBytes);
    createKey.run(id, key);
    return { id, name, key };
  }
}

function closeAsItIs({ db, file }: Opened): void {
  if (file.isInPlace && file.isCut) file.closeCut(() => db.close());
  else db.close();
  file.letGo();
}

/** Keeps what a record says of its stream. Of an erased stream only its times are kept. */
function index(
  id: number,
  { index: found, kind }: RecordFacts,
  at: number,
  isErased: boolean,
  { begin, end }: Statements,
): void {
  const { caller = null, code = null, inputTokens = null, model = null } = isErased ? {} : found;
  const { outputTokens = null, provider = null, request = null, state = null } = isErased ? {} : found;
  const { tenant = null } = isErased ? {} : found;
  if (kind === 'begin') begin.run(tenant, caller, provider, model, request, id);
  if (kind === 'end') end.run(at, state, code, inputTokens, outputTokens, id);
}
