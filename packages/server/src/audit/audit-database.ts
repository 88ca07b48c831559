import { chmodSync, closeSync, existsSync, fsyncSync, openSync, realpathSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { SpillwayError } from '@spillway/core';
import { nodeClock } from '../time/node-clock.ts';
import { expectFileOrNothing } from './expect-file.ts';
import { expectNoOrphan, LogFile, sizeOf } from './log-file.ts';
import { inWords } from './sqlite-words.ts';

/** "SpwA": what tells an audit log from other databases. */
const applicationId = 0x53_70_77_41;
/** The version of the tables. Another one is refused, and never guessed at. */
const schemaVersion = 2;
/** How long a statement waits for a lock of another process. */
const busyMs = 5000;
/** How long a checkpoint waits for another one before it looks again. */
const pauseMs = 10;
const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * `records` is the chain: a row never changes, but for its content, which erasure takes. `keys` stands alone, with rows of
 * one size: a key is overwritten where it lies, because rows that grow are moved, and SQLite leaves copies behind.
 * Rows of `records` without `seq` are the chain's own: how it began and ended, what was erased and pruned.
 */
export const schema: readonly string[] = [
  `CREATE TABLE writers(id INTEGER PRIMARY KEY, node TEXT NOT NULL, process TEXT NOT NULL, started INTEGER NOT NULL, base INTEGER NOT NULL, baseHash BLOB NOT NULL) STRICT`,
  `CREATE TABLE streams(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, tenant TEXT, caller TEXT, provider TEXT, model TEXT, request TEXT, started INTEGER NOT NULL, ended INTEGER, state TEXT, code TEXT, inputTokens INTEGER, outputTokens INTEGER) STRICT`,
  `CREATE TABLE keys(stream INTEGER PRIMARY KEY, key BLOB NOT NULL) STRICT`,
  `CREATE TABLE records(id INTEGER PRIMARY KEY, writer INTEGER NOT NULL, n INTEGER NOT NULL, stream INTEGER, seq INTEGER, kind TEXT NOT NULL, at INTEGER NOT NULL, content BLOB, digest BLOB, hash BLOB NOT NULL) STRICT`,
  `CREATE UNIQUE INDEX recordsByWriter ON records(writer, n)`,
  `CREATE UNIQUE INDEX recordsByStream ON records(stream, seq) WHERE seq IS NOT NULL`,
  `CREATE INDEX chainRows ON records(kind, stream) WHERE seq IS NULL`,
  `CREATE INDEX streamsByStart ON streams(started)`,
  `CREATE INDEX streamsByPerson ON streams(tenant, caller)`,
  `CREATE INDEX streamsByRequest ON streams(request)`,
];

/** A row of `writers`: who writes a chain, and where it begins. */
export interface WriterRow {
  readonly id: number;
  readonly node: string;
  readonly process: string;
  readonly started: number;
  readonly base: number;
  readonly baseHash: Uint8Array;
}

/** A row of SQLite, with the types that its table has: tables are STRICT. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller knows its own query
export function rowOf<Row>(value: unknown): Row {
  return value as Row;
}

/** The error of rows that do not come in their order: who reads on would read for ever. */
export function damaged(): SpillwayError {
  return new SpillwayError('invalid_option', 'The file of the audit log is damaged: "verify" says where.');
}

/**
 * Opens an audit log to write to it, and creates it, for its owner alone. All that the file says from then on is on the
 * disk: what an earlier process wrote, too, also if its `fsync` had failed.
 *
 * @throws {SpillwayError} `invalid_option` for a file that is something else; `sink_failed` for a write-ahead log whose log is gone.
 */
export function openForWriting(path: string): { readonly db: DatabaseSync; readonly file: LogFile } {
  const name = resolve(path);
  expectFileOrNothing(name);
  const isNew = !existsSync(name);
  expectNoOrphan(isNew ? name : realpathSync(name));
  if (isNew) {
    // SQLite gives -wal and -shm the mode of the database.
    closeSync(openSync(name, 'a', 0o600));
    syncFolder(name);
  }
  // An empty file that was there becomes a log, too.
  else if (sizeOf(name) === 0) chmodSync(name, 0o600);
  const file = new LogFile(name);
  let db: DatabaseSync | undefined;
  try {
    file.hold();
    file.expectWhole();
    db = new DatabaseSync(name, { timeout: busyMs });
    // It may have been replaced before it was open.
    file.expectNamed();
    db.exec('PRAGMA auto_vacuum = INCREMENTAL; PRAGMA secure_delete = ON; PRAGMA synchronous = FULL');
    if (isEmpty(db)) createTables(db);
    expectLog(db, name);
    db.exec('PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = 67108864');
    checkpoint(db);
    file.seeCompanions();
    return { db, file };
  } catch (error) {
    db?.close();
    file.letGo();
    throw inWords(error, name);
  }
}

/**
 * Opens an audit log that others may be writing to, to read it. Where nothing can be written, such as on a read-only
 * medium, it is read as a file that does not change.
 *
 * @throws {SpillwayError} `invalid_option` for a file that is something else; `sink_failed` for one that was emptied or cannot
 * be read; what SQLite throws for others.
 */
export function openForReading(path: string): DatabaseSync {
  const file = resolve(path);
  expectFilled(file, path);
  try {
    return openReader(file, path);
  } catch (error) {
    // Readers share a file beside the log, which somebody has to create. Without a write-ahead log nobody writes.
    if (!(error instanceof Error && /unable to open/.test(error.message)) || existsSync(`${file}-wal`))
      throw inWords(error, path);
    const url = pathToFileURL(file);
    url.search = '?immutable=1';
    return openReader(url, path);
  }
}

/**
 * Opens an audit log that goes on growing, to follow it. Waits for a lock no longer than so many milliseconds, during which
 * the thread stands still.
 *
 * @throws {SpillwayError} `invalid_option` for a file that is something else; `sink_failed` for one that was emptied or cannot
 * be read; what SQLite throws for others.
 */
export function openForFollowing(path: string, timeoutMs: number): DatabaseSync {
  const file = resolve(path);
  expectFilled(file, path);
  try {
    return openReader(file, path, timeoutMs);
  } catch (error) {
    throw inWords(error, path);
  }
}

/** SQLite removes the write-ahead log of an empty file, also when it only reads. */
function expectFilled(file: string, path: string): void {
  if (!existsSync(file) || sizeOf(file) > 0) return;
  expectNoOrphan(realpathSync(file));
  throw new SpillwayError('invalid_option', `${path}: expected an audit log, got an empty file`);
}

function openReader(file: URL | string, path: string, timeoutMs = busyMs): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly: true, timeout: timeoutMs });
  try {
    expectLog(db, path);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * Moves all of the write-ahead log into the database, on the disk, and empties it. A write-ahead log whose `fsync` has
 * failed may have a hole on the disk that nobody sees before the power fails: behind the hole nothing may be written.
 *
 * @throws {SpillwayError} `sink_failed` while somebody reads what has to be moved, for longer than `maxMs`.
 */
export function checkpoint(db: DatabaseSync, maxMs = busyMs): void {
  const untilMs = nodeClock.nowMs() + maxMs;
  db.exec(`PRAGMA busy_timeout = ${maxMs}`);
  try {
    // SQLite waits for readers by itself, and not for another one that does the same.
    while (db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.['busy'] !== 0) {
      if (nodeClock.nowMs() >= untilMs)
        throw new SpillwayError(
          'sink_failed',
          `The audit log is held by somebody who reads or writes it, for longer than ${maxMs} ms; try again when they have finished.`,
        );
      Atomics.wait(pause, 0, 0, pauseMs);
    }
  } finally {
    db.exec(`PRAGMA busy_timeout = ${busyMs}`);
  }
}

/** Runs `work` as one transaction: what it did is on the disk, or nothing of it is done, or it throws and nobody knows. */
export function transact<Result>(db: DatabaseSync, work: () => Result): Result {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    // Some errors have rolled back already.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

function isEmpty(db: DatabaseSync): boolean {
  return db.prepare('SELECT 1 FROM sqlite_schema').get() === undefined;
}

function createTables(db: DatabaseSync): void {
  transact(db, () => {
    // Another process may have been faster.
    if (!isEmpty(db)) return;
    for (const statement of schema) db.exec(statement);
    db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schemaVersion}`);
  });
}

function expectLog(db: DatabaseSync, path: string): void {
  const read = (name: string): unknown =>
    db.prepare(`SELECT ${name} AS value FROM pragma_${name}`).get()?.['value'];
  if (read('application_id') !== applicationId)
    throw new SpillwayError('invalid_option', `${path}: expected an audit log, got another database`);
  const version = read('user_version');
  if (version !== schemaVersion)
    throw new SpillwayError(
      'invalid_option',
      `${path}: expected an audit log of version ${schemaVersion}, got version ${String(version)}`,
    );
}

/** The name of a new file is on the disk only when its folder is. */
function syncFolder(file: string): void {
  // Windows opens no folders.
  if (process.platform === 'win32') return;
  const folder = openSync(dirname(file), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
