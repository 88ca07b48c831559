import { createHash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { SpillwayError } from '@spillway/core';
import { type ReadLimits, RecordGap, type SourceItem } from '@spillway/core/source/record-source';
import { damaged, openForFollowing, rowOf } from './audit-database.ts';
import { LogFile } from './log-file.ts';
import { decrypt, placeOf } from './stream-cipher.ts';

/** A row of a log: rows are numbered in the order in which they were written, and no number is used again. */
export interface LogRow {
  /** 0: before the first. */
  readonly row: number;
  /** Its hash, in hexadecimal; empty: not known. */
  readonly hash: string;
}

/** An item, and the last row that it stands for. */
export interface FollowedItem extends LogRow {
  readonly item: SourceItem;
}

/** What was found behind a row. */
export interface Found {
  readonly items: readonly FollowedItem[];
  /** The last row that was looked at. */
  readonly last: LogRow;
}

interface RecordRow {
  readonly id: number;
  readonly hash: Uint8Array;
  readonly seq: number | null;
  readonly stream: string | null;
  readonly content: Uint8Array | null;
  readonly key: Uint8Array | null;
}

/** Rows that are looked at in one go: the chain's own rows and erased ones make no or few items. */
const maxRows = 10_000;
/** While a writer begins or ends, the log is locked for moments. */
const busyMs = 100;

/**
 * An audit log that others write to, read row by row. Each call is one short transaction. After a failure the log is
 * opened anew, and has to be the one that it was.
 */
export class FollowedLog {
  readonly #path: string;
  readonly #advice: string;
  #opened: { readonly db: DatabaseSync; readonly file: LogFile } | undefined;
  #mark: string | undefined;

  /**
   * @param mark which log it has to be; `undefined`: any.
   * @param advice what to do when it is another one: a sentence.
   */
  constructor(path: string, mark: string | undefined, advice: string) {
    this.#path = path;
    this.#mark = mark;
    this.#advice = advice;
  }

  /**
   * What tells this log from others, also in a copy: how its first chain began.
   *
   * @throws {SpillwayError} as all methods do: `source_failed`.
   */
  get mark(): string {
    return this.#use({ row: 0, hash: '' }, markOf);
  }

  /** The number of the oldest row. */
  get oldestRow(): number {
    return this.#use({ row: 0, hash: '' }, (db) => boundsOf(db).oldest);
  }

  /** Throws if the log is not there, or is not the one that has this row. */
  expect(place: LogRow): void {
    this.#use(place, () => undefined);
  }

  /** Reads what is behind a row: records, and gaps where rows are missing or have nothing to give. */
  itemsBehind(place: LogRow, { maxBytes = 1_048_576, maxItems }: ReadLimits): Found {
    return this.#use(place, (db) => {
      const rows = db.prepare(
        `SELECT records.id AS id, hash, seq, name AS stream, content, key FROM records
           LEFT JOIN streams ON streams.id = records.stream LEFT JOIN keys ON keys.stream = records.stream
           WHERE records.id > ? ORDER BY records.id LIMIT ${maxRows}`,
      );
      const items: FollowedItem[] = [];
      let last = place;
      let bytes = 0;
      for (const each of rows.iterate(place.row)) {
        const row = rowOf<RecordRow>(each);
        const hash = Buffer.from(row.hash).toString('hex');
        if (row.id <= last.row) throw damaged();
        if (row.id > last.row + 1) {
          if (!addGap(items, { from: last.row + 1, to: row.id - 1, hash: '', reason: 'removed' }, maxItems))
            break;
          last = { row: row.id - 1, hash: '' };
        }
        if (row.seq !== null) {
          const item = itemOf(row, row.seq);
          if (typeof item === 'string') {
            if (!addGap(items, { from: row.id, to: row.id, hash, reason: item }, maxItems)) break;
          } else {
            bytes += item.value.length;
            if (items.length === maxItems || (items.length > 0 && bytes > maxBytes)) break;
            items.push({ item, row: row.id, hash });
          }
        }
        last = { row: row.id, hash };
      }
      return { items, last };
    });
  }

  /**
   * How many records are behind a row, and when the first of them was made, in milliseconds since 1970. Where some were
   * removed, it may be fewer.
   */
  behind(place: LogRow): { readonly records: number; readonly oldestMs: number | undefined } {
    return this.#use(place, (db) => {
      const { newest, oldest } = boundsOf(db);
      // By numbers: to count rows would read all of the log.
      const rows = newest - Math.max(place.row, oldest - 1);
      const own = db
        .prepare('SELECT count(*) AS count FROM records WHERE seq IS NULL AND +id > ?')
        .get(place.row);
      const first = db
        .prepare('SELECT at FROM records WHERE id > ? AND seq IS NOT NULL ORDER BY id LIMIT 1')
        .get(place.row);
      if (first === undefined) return { records: 0, oldestMs: undefined };
      return { records: rows - Number(own?.['count']), oldestMs: rowOf<{ at: number }>(first).at };
    });
  }

  close(): void {
    const opened = this.#opened;
    this.#opened = undefined;
    opened?.db.close();
  }

  #use<Result>(place: LogRow, work: (db: DatabaseSync) => Result): Result {
    try {
      // A log that is replaced leaves the old file open, which nobody writes to any more.
      if (this.#opened?.file.isInPlace === false) this.close();
      this.#opened ??= this.#open();
      const { db } = this.#opened;
      this.#expectSame(db, place);
      return work(db);
    } catch (error) {
      this.close();
      if (error instanceof SpillwayError && error.code !== 'sink_failed') throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new SpillwayError('source_failed', `${this.#path} cannot be read: ${why}`, { cause: error });
    }
  }

  #open(): { readonly db: DatabaseSync; readonly file: LogFile } {
    const file = new LogFile(this.#path);
    return { db: openForFollowing(this.#path, busyMs), file };
  }

  #expectSame(db: DatabaseSync, place: LogRow): void {
    const mark = markOf(db);
    this.#mark ??= mark;
    if (mark !== this.#mark) throw this.#another('it is another log');
    if (place.row > boundsOf(db).newest)
      throw this.#another('it ends before the place, as an older copy does');
    // The row may have been removed.
    const hash = db.prepare('SELECT hash FROM records WHERE id = ?').get(place.row)?.['hash'];
    if (place.hash !== '' && hash instanceof Uint8Array && Buffer.from(hash).toString('hex') !== place.hash)
      throw this.#another('it went on in another way, as an older copy does');
  }

  #another(why: string): SpillwayError {
    const message = `${this.#path}: expected the audit log that was read before, got another one: ${why}. ${this.#advice}`;
    return new SpillwayError('source_failed', message);
  }
}

function markOf(db: DatabaseSync): string {
  const row = db.prepare('SELECT node, process, started FROM writers ORDER BY id LIMIT 1').get();
  if (row === undefined) throw new SpillwayError('source_failed', 'The audit log has not begun yet.');
  const { node, process, started } = rowOf<{ node: string; process: string; started: number }>(row);
  return createHash('sha256')
    .update(JSON.stringify([node, process, started]))
    .digest('hex');
}

function boundsOf(db: DatabaseSync): { readonly oldest: number; readonly newest: number } {
  const row = db.prepare(
    'SELECT (SELECT min(id) FROM records) AS oldest, (SELECT max(id) FROM records) AS newest',
  );
  const { newest, oldest } = rowOf<{ oldest: number | null; newest: number | null }>(row.get());
  return { oldest: oldest ?? 1, newest: newest ?? 0 };
}

/** The record of a row, or why there is none to give. */
function itemOf(
  { content, key, stream }: RecordRow,
  seq: number,
): (SourceItem & { value: Uint8Array }) | string {
  if (content === null) return 'erased';
  if (stream === null || key === null) return 'damaged';
  const value = decrypt(key, placeOf(stream, seq), content);
  return value === undefined ? 'damaged' : { stream, seq, value };
}

/** Adds missing rows to the gap that ends before them, or as a gap of their own. `false`: there is no room for one. */
function addGap(
  items: FollowedItem[],
  { from, hash, reason, to }: { from: number; to: number; hash: string; reason: string },
  maxItems: number,
): boolean {
  const last = items.at(-1);
  const before =
    last?.item instanceof RecordGap && last.row === from - 1 && last.item.reason === reason
      ? last.item
      : undefined;
  if (before !== undefined) items.pop();
  else if (items.length === maxItems) return false;
  const first = before === undefined ? from : Number(before.from);
  items.push({ item: new RecordGap(String(first), String(to), to - first + 1, reason), row: to, hash });
  return true;
}
