import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { SpillwayError } from '@spillway/core';
import { type AuditChain, digestOf } from './audit-chain.ts';
import { checkpoint, rowOf } from './audit-database.ts';
import type { AuditWriter } from './audit-writer.ts';

/** What is to be erased: one stream, or all of a tenant, or of one of its callers. */
export type EraseTarget =
  | { readonly stream: string }
  | { readonly tenant: string; readonly caller?: string | undefined };

/** What was erased. */
export interface Erased {
  readonly streams: number;
  readonly records: number;
}

/** Streams in one transaction. */
const streamsAtOnce = 100;

interface Erasable {
  readonly id: number;
  readonly name: string;
  readonly key: Uint8Array;
}

/**
 * Erases what streams said and who asked: their keys, their content, and their entries of the index, from the file and
 * from its write-ahead log. Their records stay in the chain, with the digests of what they had. What comes later of such
 * a stream is not kept either. Streams that were erased before are left alone.
 *
 * SQLite overwrites what it deletes, but may have left copies where rows had been before. So the file is searched for the
 * keys at last, and written anew if one is still there.
 *
 * @throws {SpillwayError} `sink_failed` if somebody reads the log for so long that its write-ahead log cannot be emptied:
 * content is erased then, but its bytes may still be in the file. Erase again.
 */
export function erase(path: string, writer: AuditWriter, target: EraseTarget, nowMs: number): Erased {
  const keys: Uint8Array[] = [];
  let records = 0;
  for (let last = 0; ;) {
    const streams = matching(writer.db, target, last);
    last = streams.at(-1)?.id ?? 0;
    if (last === 0) break;
    writer.change(({ chain, db }) => {
      for (const stream of streams) records += eraseStream(db, chain, stream, nowMs);
    });
    keys.push(...streams.map(({ key }) => key));
  }
  checkpoint(writer.db);
  if (holdsAny(path, keys)) {
    writer.db.exec('VACUUM');
    checkpoint(writer.db);
    if (holdsAny(path, keys))
      throw new SpillwayError('sink_failed', `${path}: a key is still in the file after its erasure`);
  }
  return { streams: keys.length, records };
}

/** The streams that are to be erased, from behind the one with that number. */
function matching(db: DatabaseSync, target: EraseTarget, last: number): Erasable[] {
  const [where, values] =
    'stream' in target
      ? ['name = ?', [target.stream]]
      : target.caller === undefined
        ? ['tenant = ?', [target.tenant]]
        : ['tenant = ? AND caller = ?', [target.tenant, target.caller]];
  return db
    .prepare(
      `SELECT id, name, key FROM streams JOIN keys ON stream = id WHERE ${where} AND key <> zeroblob(32) AND id > ? ORDER BY id LIMIT ${streamsAtOnce}`,
    )
    .all(...values, last)
    .map((row) => rowOf<Erasable>(row));
}

function eraseStream(db: DatabaseSync, chain: AuditChain, { id, name }: Erasable, nowMs: number): number {
  db.prepare('UPDATE keys SET key = zeroblob(32) WHERE stream = ?').run(id);
  const rows = db
    .prepare('SELECT id FROM records WHERE stream = ? AND seq IS NOT NULL AND content IS NOT NULL')
    .all(id);
  const read = db.prepare('SELECT content FROM records WHERE id = ?');
  const clear = db.prepare('UPDATE records SET content = NULL, digest = ? WHERE id = ?');
  for (const row of rows) {
    const record = rowOf<{ id: number }>(row).id;
    const { content } = rowOf<{ content: Uint8Array }>(read.get(record));
    clear.run(digestOf(content), record);
  }
  db.prepare(
    `UPDATE streams SET tenant = NULL, caller = NULL, provider = NULL, model = NULL, request = NULL, state = NULL, code = NULL,
       inputTokens = NULL, outputTokens = NULL WHERE id = ?`,
  ).run(id);
  chain.note('erase', nowMs, { records: rows.length }, { id, name });
  return rows.length;
}

/** Whether the bytes of any key are anywhere in a log's files. */
function holdsAny(path: string, keys: readonly Uint8Array[]): boolean {
  if (keys.length === 0) return false;
  return [path, `${path}-wal`].some((file) => existsSync(file) && fileHoldsAny(file, keys));
}

/** Enough of a key to tell it from others. */
function startOf(bytes: Buffer, at: number): number {
  return bytes.readUIntBE(at, 6);
}

const blockBytes = 1024 * 1024;

function fileHoldsAny(path: string, keys: readonly Uint8Array[]): boolean {
  const byStart = new Map(keys.map((key) => [startOf(Buffer.from(key), 0), Buffer.from(key)]));
  // Nearly all places are told apart by two bytes.
  const starts = new Uint8Array(65_536);
  for (const start of byStart.keys()) starts[Math.floor(start / 2 ** 32)] = 1;
  const longest = Math.max(...keys.map(({ length }) => length));
  const block = Buffer.alloc(blockBytes + longest);
  const file = openSync(path, 'r');
  try {
    for (let position = 0; ; position += blockBytes) {
      // Blocks overlap by a key.
      const length = readSync(file, block, 0, block.length, position);
      for (let at = 0; at + longest <= length; at += 1) {
        if (starts[((block[at] ?? 0) << 8) | (block[at + 1] ?? 0)] !== 1) continue;
        const key = byStart.get(startOf(block, at));
        if (key?.equals(block.subarray(at, at + key.length)) === true) return true;
      }
      if (length < block.length) return false;
    }
  } finally {
    closeSync(file);
  }
}
