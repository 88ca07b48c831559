import { createHash } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { ServerClock } from '../time/server-clock.ts';
import { rowOf } from './audit-database.ts';
import { ownProcess } from './process-mark.ts';

/** Where a chain is: so many records, and the hash of the last one. Who keeps it elsewhere can prove the log by it. */
export interface AuditHead {
  /** Number of the writer in its log: 1, 2, … One for each start of a node, and for each chain after a failure. */
  readonly writer: number;
  /** Records in the chain, those that were pruned included. */
  readonly count: number;
  /** Hash of the last one, SHA-256 in hexadecimal. */
  readonly hash: string;
}

/** What of a record is in clear, and covered by its hash. */
export interface ClearRecord {
  readonly writer: number;
  readonly n: number;
  /** `null`: a row of the chain's own. */
  readonly stream: string | null;
  readonly seq: number | null;
  readonly kind: string;
  readonly at: number;
}

/** The hash that a chain begins with. */
export const firstHash: Uint8Array = new Uint8Array(32);

/** How many heads of other writers a chain begins with at most: the newest ones. */
const maxWitnessed = 100;

/** SHA-256 of stored content: it stays when the content is erased. */
export function digestOf(content: Uint8Array): Buffer {
  return createHash('sha256').update(content).digest();
}

/** The hash of a record: of the one before it, of what is in clear, and of the digest of its content. */
export function linkHash(before: Uint8Array, record: ClearRecord, digest: Uint8Array): Buffer {
  const { at, kind, n, seq, stream, writer } = record;
  // An array of numbers and texts has one spelling in JSON. Both ends have one length, so that nothing can move between parts.
  const clear = JSON.stringify([writer, n, stream, seq, kind, at]);
  return createHash('sha256').update(before).update(clear).update(digest).digest();
}

/** A head as commands take it: `WRITER:COUNT:HASH`. */
export function headAsText({ count, hash, writer }: AuditHead): string {
  return `${writer}:${count}:${hash}`;
}

/** A record that is to be added. */
export interface NewRecord {
  readonly stream: { readonly id: number; readonly name: string } | undefined;
  readonly seq: number | undefined;
  readonly kind: string;
  readonly at: number;
  readonly content: Uint8Array;
  /** Whether the content must not be kept, only its digest. */
  readonly isErased?: boolean;
}

/**
 * The chain of one writer. Its methods run inside a transaction. When that fails, the chain is not what the log has: throw
 * it away.
 */
export class AuditChain {
  readonly writer: number;
  readonly #insert: StatementSync;
  #count = 0;
  #hash: Uint8Array = firstHash;

  private constructor(db: DatabaseSync, writer: number) {
    this.writer = writer;
    this.#insert = db.prepare(
      `INSERT INTO records(writer, n, stream, seq, kind, at, content, digest, hash) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT(stream, seq) WHERE seq IS NOT NULL DO NOTHING`,
    );
  }

  /**
   * Begins a chain. Its first record says who writes, and where the chains of others were: the end of those cannot be cut
   * off any more without this one. `before` is where the writer's chain was in another file, which had this one's name.
   */
  static begin(db: DatabaseSync, node: string, clock: ServerClock, before?: AuditHead): AuditChain {
    const last = rowOf<{ id: number | null }>(db.prepare('SELECT max(id) AS id FROM writers').get());
    const chain = new AuditChain(db, (last.id ?? 0) + 1);
    const started = clock.dateMs();
    const process = ownProcess();
    const heads = newestHeads(db);
    db.prepare(
      'INSERT INTO writers(id, node, process, started, base, baseHash) VALUES(?, ?, ?, ?, 0, ?)',
    ).run(chain.writer, node, process, started, firstHash);
    chain.note('open', started, { node, process, heads, before });
    return chain;
  }

  get head(): AuditHead {
    return { writer: this.writer, count: this.#count, hash: Buffer.from(this.#hash).toString('hex') };
  }

  /** Adds a row of the chain's own, with its content in clear. */
  note(kind: string, at: number, content: unknown, stream?: NewRecord['stream']): void {
    const bytes = Buffer.from(JSON.stringify(content));
    this.add({ stream, seq: undefined, kind, at, content: bytes });
  }

  /** Adds a record. Returns whether it was added: the log may have it already, in any chain. */
  add({ at, content, isErased = false, kind, seq: number, stream }: NewRecord): boolean {
    const seq = number ?? null;
    const n = this.#count + 1;
    const clear = { writer: this.writer, n, stream: stream?.name ?? null, seq, kind, at };
    const digest = digestOf(content);
    const hash = linkHash(this.#hash, clear, digest);
    const [kept, keptDigest] = isErased ? [null, digest] : [content, null];
    const { changes } = this.#insert.run(
      this.writer,
      n,
      stream?.id ?? null,
      seq,
      kind,
      at,
      kept,
      keptDigest,
      hash,
    );
    if (changes === 0) return false;
    this.#count = n;
    this.#hash = hash;
    return true;
  }
}

/** The last record of each of the newest chains. */
function newestHeads(db: DatabaseSync): [writer: number, n: number, hash: string][] {
  const rows = db
    .prepare(
      `SELECT writers.id AS writer, n, hash FROM writers JOIN records ON records.id =
         (SELECT id FROM records WHERE writer = writers.id ORDER BY n DESC LIMIT 1) ORDER BY writers.id DESC LIMIT ?`,
    )
    .all(maxWitnessed);
  return rows.map((row) => {
    const { hash, n, writer } = rowOf<{ writer: number; n: number; hash: Uint8Array }>(row);
    return [writer, n, Buffer.from(hash).toString('hex')];
  });
}
