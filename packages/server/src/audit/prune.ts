import { createHash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { AuditWriter } from './audit-writer.ts';
import { rowOf, type WriterRow } from './audit-database.ts';
import { WriterLiveness } from './writer-liveness.ts';

/** What is to be removed: what is older, or the oldest while the log is larger. */
export interface PruneLimits {
  /** Streams whose last record is older than this go. Default: none. */
  readonly maxAgeMs?: number | undefined;
  /** The size of the log: the oldest streams that have ended go until it has it. Default: none. */
  readonly maxBytes?: number | undefined;
}

/** What a `prune` record says. The newest one stands for all: it vouches for where each chain begins now. */
export interface PruneNote {
  /** 1, 2, … through the whole log. */
  readonly no: number;
  /** The chain whose first records were removed now, up to record `n`, which had this hash. */
  readonly writer: number;
  readonly n: number;
  readonly hash: string;
  /** {@link basesDigest} after that. */
  readonly bases: string;
}

/** A stream that has not ended, and without a record for so long, is taken for ended. */
const silentMs = 24 * 3_600_000;
/** Pages that are given back to the file system at once. */
const vacuumPages = 10_000;

/** The beginning of a chain that can go. */
interface Prefix {
  readonly writer: number;
  readonly n: number;
  readonly hash: Uint8Array;
  readonly records: number;
  readonly streams: ReadonlySet<number>;
}

interface PrefixRow {
  readonly id: number;
  readonly n: number;
  readonly stream: number | null;
  readonly kind: string;
  readonly at: number;
  readonly hash: Uint8Array;
}

/** A digest of where each pruned chain begins, and of who wrote it: its first record does not say so any more. */
export function basesDigest(db: DatabaseSync): string {
  const hash = createHash('sha256');
  for (const row of db.prepare('SELECT * FROM writers WHERE base > 0 ORDER BY id').iterate()) {
    const { base, baseHash, id, node, process, started } = rowOf<WriterRow>(row);
    hash.update(JSON.stringify([id, node, process, started, base, Buffer.from(baseHash).toString('hex')]));
  }
  return hash.digest('hex');
}

/** The newest `prune` record: what it says, and which row it is. */
export function newestPrune(db: DatabaseSync): { readonly id: number; readonly note: PruneNote } | undefined {
  const row = db
    .prepare(
      `SELECT id, CAST(content AS TEXT) AS text FROM records WHERE kind = 'prune' AND seq IS NULL
       ORDER BY json_extract(CAST(content AS TEXT), '$.no') DESC LIMIT 1`,
    )
    .get();
  if (row === undefined) return undefined;
  const { id, text } = rowOf<{ id: number; text: string }>(row);
  return { id, note: JSON.parse(text) as PruneNote };
}

/** The bytes of a log that are in use, without the write-ahead log. */
export function sizeOf(db: DatabaseSync): number {
  const read = (name: string): number =>
    Number(db.prepare(`SELECT ${name} AS value FROM pragma_${name}`).get()?.['value']);
  return (read('page_count') - read('freelist_count')) * read('page_size');
}

/**
 * Removes records from the beginning of one chain, at most `maxRecords`, and notes in its own chain where the other one
 * begins from then on. Streams that are to stay are not touched, so that a chain is pruned up to the first of those.
 * Returns how many records were removed; 0: nothing is to be removed, or nothing can.
 */
export function prune(writer: AuditWriter, limits: PruneLimits, nowMs: number, maxRecords: number): number {
  // Looked at before, so that a log with nothing to remove is not written.
  if (oldestPrefix(writer.db, limits, nowMs, maxRecords) === undefined) return 0;
  let removed = 0;
  writer.change(({ chain, db }) => {
    const prefix = oldestPrefix(db, limits, nowMs, maxRecords);
    if (prefix === undefined) return;
    const no = (newestPrune(db)?.note.no ?? 0) + 1;
    db.prepare('UPDATE writers SET base = ?, baseHash = ? WHERE id = ?').run(
      prefix.n,
      prefix.hash,
      prefix.writer,
    );
    const { hash, n, records, writer: pruned } = prefix;
    const note: PruneNote = {
      no,
      writer: pruned,
      n,
      hash: Buffer.from(hash).toString('hex'),
      bases: basesDigest(db),
    };
    chain.note('prune', nowMs, note);
    // Afterwards, so that the newest row always stays: who reads on behind a row never finds its number used again.
    remove(db, prefix);
    removed = records;
  });
  writer.db.exec(`PRAGMA incremental_vacuum(${vacuumPages})`);
  return removed;
}

/** The beginning of the chain with the oldest record, among those of which something can go. */
function oldestPrefix(
  db: DatabaseSync,
  limits: PruneLimits,
  nowMs: number,
  maxRecords: number,
): Prefix | undefined {
  const { maxAgeMs, maxBytes } = limits;
  const isTooLarge = maxBytes !== undefined && sizeOf(db) > maxBytes;
  const oldestMs = maxAgeMs === undefined ? -Infinity : nowMs - maxAgeMs;
  if (!isTooLarge && maxAgeMs === undefined) return undefined;
  const kept = newestPrune(db)?.id;
  const mayGo = streamVerdict(db, isTooLarge, oldestMs, nowMs);
  const canGo = ({ at, id, stream }: PrefixRow): boolean =>
    id !== kept && (stream === null ? isTooLarge || at < oldestMs : mayGo(stream));
  const chains = db
    .prepare(
      `SELECT writer, at FROM (SELECT id AS writer, (SELECT at FROM records WHERE writer = writers.id ORDER BY n LIMIT 1) AS at
         FROM writers) WHERE at IS NOT NULL ORDER BY at`,
    )
    .all();
  for (const chain of chains) {
    const { at, writer } = rowOf<{ writer: number; at: number }>(chain);
    if (!isTooLarge && at >= oldestMs) return undefined;
    const prefix = prefixOf(db, writer, maxRecords, canGo);
    // Where the size is asked for, a note that replaces a note would go on for ever.
    if (prefix !== undefined && (prefix.streams.size > 0 || !isTooLarge)) return prefix;
  }
  return undefined;
}

function prefixOf(
  db: DatabaseSync,
  writer: number,
  maxRecords: number,
  canGo: (row: PrefixRow) => boolean,
): Prefix | undefined {
  const rows = db
    .prepare('SELECT id, n, stream, kind, at, hash FROM records WHERE writer = ? ORDER BY n LIMIT ?')
    .iterate(writer, maxRecords);
  const streams = new Set<number>();
  let last: PrefixRow | undefined;
  let records = 0;
  for (const each of rows) {
    const row = rowOf<PrefixRow>(each);
    if (!canGo(row)) break;
    if (row.stream !== null) streams.add(row.stream);
    last = row;
    records += 1;
  }
  return last === undefined ? undefined : { writer, n: last.n, hash: last.hash, records, streams };
}

/** Whether a stream can go: by its age, or because it has ended where the log is too large. */
function streamVerdict(
  db: DatabaseSync,
  isTooLarge: boolean,
  oldestMs: number,
  nowMs: number,
): (stream: number) => boolean {
  const liveness = new WriterLiveness(db);
  const find = db.prepare(
    `SELECT ended, writer, at FROM streams JOIN records ON records.id =
       (SELECT id FROM records WHERE stream = streams.id AND seq IS NOT NULL ORDER BY seq DESC LIMIT 1) WHERE streams.id = ?`,
  );
  const known = new Map<number, boolean>();
  const look = (stream: number): boolean => {
    const found = find.get(stream);
    // All that is left of it is that it was erased.
    if (found === undefined) return true;
    const { at, ended, writer } = rowOf<{ ended: number | null; writer: number; at: number }>(found);
    if (at < oldestMs) return true;
    return isTooLarge && (ended !== null || at < nowMs - silentMs || !liveness.isWriting(writer));
  };
  return (stream) => {
    let verdict = known.get(stream);
    if (verdict === undefined) known.set(stream, (verdict = look(stream)));
    return verdict;
  };
}

function remove(db: DatabaseSync, { n, streams, writer }: Prefix): void {
  db.prepare('DELETE FROM records WHERE writer = ? AND n <= ?').run(writer, n);
  // Only with `seq` there is an index for it.
  const rest = db.prepare('SELECT 1 FROM records WHERE stream = ? AND seq IS NOT NULL LIMIT 1');
  const notes = db.prepare(
    `SELECT 1 FROM records WHERE kind = 'erase' AND stream = ? AND seq IS NULL LIMIT 1`,
  );
  const overwrite = db.prepare('UPDATE keys SET key = zeroblob(32) WHERE stream = ?');
  const removals = ['keys WHERE stream', 'streams WHERE id'].map((where) =>
    db.prepare(`DELETE FROM ${where} = ?`),
  );
  for (const stream of streams) {
    if (rest.get(stream) !== undefined || notes.get(stream) !== undefined) continue;
    overwrite.run(stream);
    for (const removal of removals) removal.run(stream);
  }
}
