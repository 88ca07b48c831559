import type { DatabaseSync } from 'node:sqlite';
import { parsedJson } from '@spillway/core/format/parsed-json';
import { type AuditHead, firstHash } from './audit-chain.ts';
import { damaged, openForReading, rowOf, schema, type WriterRow } from './audit-database.ts';
import { type AuditProblem, AuditProblems } from './audit-problem.ts';
import { ChainCheck, type ChainRow, isSame, problemAt } from './chain-check.ts';
import { basesDigest, newestPrune } from './prune.ts';
import { checkStreams } from './stream-check.ts';

/** What `verifyAudit` found out. */
export interface AuditReport {
  readonly streams: number;
  /** Streams among them whose content was erased, by a record that says so. */
  readonly erased: number;
  /** Records of streams that are there. */
  readonly records: number;
  /** Records that were pruned from the beginning of their chains. */
  readonly pruned: number;
  /** Where each chain is. */
  readonly heads: readonly AuditHead[];
  /** What is wrong; empty: nothing. At most 100. */
  readonly problems: readonly AuditProblem[];
  /** The number of all problems. */
  readonly problemCount: number;
  /** Where chains were in other files: those had this log's name, and were moved or removed while they were written. */
  readonly before: readonly AuditHead[];
  /** Heads that cannot be compared, because retention has removed the records. */
  readonly prunedHeads: readonly AuditHead[];
}

/** A head that the first record of another chain has. */
interface Witness extends AuditHead {
  readonly by: number;
}

const noStreams = { streams: 0, erased: 0 };

/** Rows that are read at once: while they are, the write-ahead log cannot be emptied. */
const rowsAtOnce = 500;

/**
 * Checks that a log is complete and unchanged: that each chain follows from its beginning, each content from its stream's
 * key, the index from the records, and that `heads` are in it. Others may write meanwhile. Needs memory for a few records.
 *
 * Without a head it cannot tell a log whose newest records were removed since the last start of a writer, or that was
 * hashed anew from some record on, from one that was always so.
 *
 * @throws {SpillwayError} `invalid_option` for a file that is no audit log; what SQLite throws for one that it cannot read.
 */
export function verifyAudit(path: string, heads: readonly AuditHead[] = []): AuditReport {
  const db = openForReading(path);
  try {
    return new Verification(db).run(heads);
  } finally {
    db.close();
  }
}

class Verification {
  readonly #db: DatabaseSync;
  readonly #problems = new AuditProblems();
  readonly #witnesses: Witness[] = [];
  readonly #before: AuditHead[] = [];
  #records = 0;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  run(heads: readonly AuditHead[]): AuditReport {
    this.#checkFile();
    if (this.#lastWriter() === 0)
      this.#problems.add({
        kind: 'missing',
        message:
          'there is no chain: all of it was removed, or lies in the "-wal" of the name that the file had',
      });
    for (let id = 1; id <= this.#lastWriter(); id += 1) this.#read(() => this.#checkChain(id));
    this.#read(() => this.#checkStrays());
    const { erased, streams } = this.#read(() => checkStreams(this.#db, this.#problems)) ?? noStreams;
    const pruned = this.#read(() => this.#checkPruned()) ?? 0;
    for (const witness of this.#witnesses)
      this.#read(() => {
        this.#checkHead(witness, `the first record of writer ${witness.by}`);
        this.#checkOrder(witness);
      });
    const prunedHeads = heads.filter(
      (head) => this.#read(() => this.#checkHead(head, 'the head that was given')) === true,
    );
    return {
      streams,
      erased,
      records: this.#records,
      pruned,
      heads: this.#read(() => this.#heads()) ?? [],
      problems: this.#problems.told,
      problemCount: this.#problems.count,
      before: this.#before,
      prunedHeads,
    };
  }

  /** Reads a part of the log. That it cannot be read is what is wrong with it. */
  #read<Result>(part: () => Result): Result | undefined {
    try {
      return part();
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      this.#problems.add({ kind: 'file', message: error instanceof Error ? error.message : String(error) });
      return undefined;
    }
  }

  #checkFile(): void {
    const found = this.#db.prepare('SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL').all();
    const isOurs =
      found.length === schema.length && found.every((row) => schema.includes(String(row['sql'])));
    if (!isOurs) this.#problems.add({ kind: 'file', message: 'the tables are not those of an audit log' });
    for (const row of this.#db.prepare('PRAGMA integrity_check(20)').iterate()) {
      const message = String(row['integrity_check']);
      if (message !== 'ok')
        this.#problems.add({ kind: 'file', message: `SQLite: ${message.replaceAll('\n', ' ')}` });
    }
  }

  /** Whoever can write the file can add records to a chain that there is not: nothing else would look at them. */
  #checkStrays(): void {
    const stray = this.#db.prepare('SELECT id FROM writers WHERE id < 1 LIMIT 1').get();
    if (stray !== undefined)
      this.#problems.add({
        kind: 'added',
        message: 'a chain that no program began',
        writer: Number(stray['id']),
      });
    const next = this.#db.prepare('SELECT min(writer) AS writer FROM records WHERE writer > ?');
    for (let last = -Infinity; ;) {
      const found = next.get(last)?.['writer'];
      if (typeof found !== 'number') break;
      last = found;
      if (this.#writer(last) === undefined)
        this.#problems.add({
          kind: 'added',
          message: 'records of a chain that no program began',
          writer: last,
        });
    }
    const keys = this.#db.prepare(
      'SELECT stream FROM keys WHERE stream > ? AND NOT EXISTS(SELECT 1 FROM streams WHERE id = stream)',
    );
    for (const row of keys.iterate(-Infinity))
      this.#problems.add({
        kind: 'added',
        message: `a key of a stream that is not there, ${String(row['stream'])}`,
      });
  }

  #lastWriter(): number {
    return Number(this.#db.prepare('SELECT max(id) AS id FROM writers').get()?.['id'] ?? 0);
  }

  #writer(id: number): WriterRow | undefined {
    const row = this.#db.prepare('SELECT * FROM writers WHERE id = ?').get(id);
    return row === undefined ? undefined : rowOf<WriterRow>(row);
  }

  #checkChain(id: number): void {
    const writer = this.#writer(id);
    if (writer === undefined) {
      this.#problems.add({ kind: 'missing', message: 'the whole chain is not there', writer: id });
      return;
    }
    if (writer.base === 0 && !isSame(writer.baseHash, firstHash))
      this.#problems.add({
        kind: 'changed',
        message: 'the beginning of the chain is not its own',
        writer: id,
      });
    const check = new ChainCheck(id, writer.base + 1, writer.baseHash, this.#problems);
    const page = this.#db.prepare(
      `SELECT n, name AS stream, seq, kind, at, content, digest, hash, records.id > coalesce((SELECT id FROM records AS before
         WHERE before.writer = records.writer AND before.n < records.n ORDER BY before.n DESC LIMIT 1), 0) AS isInOrder
         FROM records LEFT JOIN streams ON streams.id = stream WHERE writer = ? AND n >= ? ORDER BY n LIMIT ${rowsAtOnce}`,
    );
    for (let isMore = true; isMore;) {
      isMore = false;
      for (const each of page.iterate(id, check.next)) {
        const row = rowOf<ChainRow>(each);
        // As an index does that was damaged.
        if (row.n < check.next) throw damaged();
        if (row.n > check.next) this.#skipPruned(id, row.n, check);
        if (row.seq === null) this.#readNote(writer, row);
        else this.#records += 1;
        check.take(row);
        isMore = true;
      }
    }
    if (check.next === 1)
      this.#problems.add({ kind: 'missing', message: 'the whole chain is not there', writer: id });
    check.end();
    this.#checkBeginning(id);
  }

  /** Records in front of a chain's beginning follow from nothing, and yet who reads their stream would read them. */
  #checkBeginning(id: number): void {
    const early = this.#db.prepare(
      `SELECT n, name AS stream, seq FROM records JOIN writers ON writers.id = writer LEFT JOIN streams ON streams.id = stream
         WHERE writer = ? AND n <= base`,
    );
    for (const each of early.iterate(id)) {
      const row = rowOf<Pick<ChainRow, 'n' | 'seq' | 'stream'>>(each);
      this.#problems.add(problemAt('added', id, row, 'stands in front of the beginning of its chain'));
    }
  }

  /** Records before this one may have been pruned since the chain's beginning was read. */
  #skipPruned(id: number, n: number, check: ChainCheck): void {
    const { base, baseHash } = this.#writer(id) ?? { base: 0, baseHash: firstHash };
    if (base === n - 1) check.skipTo(n, baseHash);
  }

  /** What a chain says of itself has to be what the table of writers says, and where others were has to be there. */
  #readNote(writer: WriterRow, row: ChainRow): void {
    const isFirst = row.n === 1;
    if (isFirst !== (row.kind === 'open'))
      this.#problems.add(
        problemAt('changed', writer.id, row, 'a chain begins with a record of its writer, and with no other'),
      );
    if (row.kind !== 'open' || row.content === null) return;
    const said = parsedJson(Buffer.from(row.content).toString()) as
      | { node?: string; process?: string; heads?: [number, number, string][]; before?: AuditHead }
      | undefined;
    if (said?.node !== writer.node || said.process !== writer.process || row.at !== writer.started)
      this.#problems.add({
        kind: 'index',
        message: 'the entry of the writer is not what its first record says',
        writer: writer.id,
      });
    if (said?.before !== undefined) this.#before.push(said.before);
    for (const [other, count, hash] of said?.heads ?? [])
      this.#witnesses.push({ writer: other, count, hash, by: writer.id });
  }

  /** Chains may begin late only as the newest `prune` record says. Returns how many records were pruned. */
  #checkPruned(): number {
    return snapshot(this.#db, () => {
      const sum = this.#db.prepare('SELECT coalesce(sum(base), 0) AS sum FROM writers').get()?.['sum'];
      const newest = newestPrune(this.#db)?.note;
      const isNoted = newest === undefined ? sum === 0 : newest.bases === basesDigest(this.#db);
      if (!isNoted)
        this.#problems.add({
          kind: 'missing',
          message: 'records were removed from the beginning of a chain, and no prune record says so',
        });
      return Number(sum);
    });
  }

  /** Returns whether the head cannot be compared any more. */
  #checkHead({ count, hash, writer }: AuditHead, from: string): boolean {
    const { base, found } = snapshot(this.#db, () => ({
      base: this.#writer(writer),
      found: this.#db.prepare('SELECT hash FROM records WHERE writer = ? AND n = ?').get(writer, count)?.[
        'hash'
      ],
    }));
    if (base !== undefined && count < base.base) return true;
    const known = count === base?.base ? base.baseHash : found;
    const is = known instanceof Uint8Array ? Buffer.from(known).toString('hex') : undefined;
    if (is === hash) return false;
    const message =
      is === undefined
        ? `${from} knows ${count} records of this writer, and they are not there: the newest were removed, or this is an older copy`
        : `record ${count} is not the one that ${from} knows: the log was written anew`;
    this.#problems.add({ kind: 'head', message, writer, n: count });
    return false;
  }

  /** A chain that knows a head began behind that record, and in front of the next one. */
  #checkOrder({ by, count, writer }: Witness): void {
    const wrong = this.#db
      .prepare(
        `SELECT other.n AS n FROM records AS first JOIN records AS other ON other.writer = ? AND other.n IN (?, ?)
           WHERE first.writer = ? AND first.n = 1 AND (other.n > ?) <> (other.id > first.id)`,
      )
      .get(writer, count, count + 1, by, count);
    if (wrong !== undefined)
      this.#problems.add({
        kind: 'reordered',
        message: `lies in the file on the wrong side of the first record of writer ${by}`,
        writer,
        n: Number(wrong['n']),
      });
  }

  #heads(): AuditHead[] {
    const rows = this.#db
      .prepare(
        `SELECT writers.id AS writer, coalesce(n, base) AS count, coalesce(hash, baseHash) AS hash FROM writers
           LEFT JOIN records ON records.id = (SELECT id FROM records WHERE writer = writers.id ORDER BY n DESC LIMIT 1)
           ORDER BY writers.id`,
      )
      .all();
    return rows.map((row) => {
      const { count, hash, writer } = rowOf<{ writer: number; count: number; hash: Uint8Array }>(row);
      return { writer, count, hash: Buffer.from(hash).toString('hex') };
    });
  }
}

/** Reads several things as they were at one moment. */
function snapshot<Result>(db: DatabaseSync, read: () => Result): Result {
  db.exec('BEGIN');
  const result = read();
  db.exec('COMMIT');
  return result;
}
