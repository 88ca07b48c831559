import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { damaged, openForReading, rowOf } from './audit-database.ts';
import { type StreamIndex, type UsageSource, usageSourceOf } from './record-index.ts';
import { decrypt, isErasedKey, placeOf } from './stream-cipher.ts';
import { WriterLiveness } from './writer-liveness.ts';

/** A stream in a log. `null`: its records do not say, or do not say it yet. */
export interface AuditedStream extends StreamIndex {
  readonly name: string;
  /** When its first record was made, in milliseconds since 1970. */
  readonly startedMs: number;
  readonly endedMs: number | null;
  /**
   * How it ended, or `open`: its writer may still add to it, or `interrupted`: its writer is gone, and nobody will say how
   * it ended, or `erased`.
   */
  readonly state: string;
  /** Whether the provider reported its tokens, or `outputTokens` is an estimate. */
  readonly usageSource: UsageSource | null;
}

/** A record in a log. */
export interface AuditedRecord {
  readonly stream: string;
  readonly seq: number;
  readonly kind: string;
  /** When it was made, in milliseconds since 1970. */
  readonly atMs: number;
  /** What the tap wrote; `undefined`: it was erased, or it was changed in the file, so that it does not decrypt. */
  readonly value: Uint8Array | undefined;
  readonly isErased: boolean;
}

/** Which streams are wanted. What is not given is not looked at. */
export interface AuditFilter {
  readonly tenant?: string | undefined;
  readonly caller?: string | undefined;
  /** The whole name, as the client gave it. */
  readonly model?: string | undefined;
  /** The id of the request that began it. */
  readonly request?: string | undefined;
  readonly state?: string | undefined;
  /** Streams that began at this time or later. */
  readonly sinceMs?: number | undefined;
}

interface StreamRow extends StreamIndex {
  readonly id: number;
  readonly name: string;
  readonly started: number;
  readonly ended: number | null;
  readonly key: Uint8Array;
}

interface RecordRow {
  readonly id: number;
  readonly stream: string;
  readonly seq: number;
  readonly kind: string;
  readonly at: number;
  readonly key: Uint8Array;
}

/** Rows that are read at once. Between two reads, the write-ahead log can be emptied. */
const rowsAtOnce = 200;

/**
 * Reads an audit log, also while it is written. Needs memory for one page of rows, however large the log is.
 *
 * @example
 * ```ts
 * const log = new AuditReader('audit.db');
 * for (const { caller, model, name, state } of log.streams({ tenant: 'clinic' })) console.log(name, caller, model, state);
 * log.close();
 * ```
 */
export class AuditReader {
  readonly #db: DatabaseSync;
  readonly #liveness: WriterLiveness;
  #ends: StatementSync | undefined;

  /**
   * Opens a log.
   *
   * @throws {SpillwayError} `invalid_option` for a file that is no audit log; what SQLite throws for one that it cannot read.
   */
  constructor(path: string) {
    this.#db = openForReading(path);
    this.#liveness = new WriterLiveness(this.#db);
  }

  /** The streams of a log, the newest first. */
  *streams(filter: AuditFilter = {}): Generator<AuditedStream> {
    const { caller, model, request, sinceMs = 0, state, tenant } = filter;
    const wanted = Object.entries({ tenant, caller, model, request }).filter(
      ([, value]) => value !== undefined,
    );
    const where = wanted.map(([name]) => ` AND ${name} = ?`).join('');
    const page = this.#db.prepare(
      `SELECT streams.*, key FROM streams JOIN keys ON stream = streams.id
         WHERE started >= ? AND (started, streams.id) < (?, ?)${where} ORDER BY started DESC, streams.id DESC LIMIT ${rowsAtOnce}`,
    );
    const values = wanted.map(([, value]) => value ?? null);
    for (let last = [Number.MAX_SAFE_INTEGER, 0], rows = rowsAtOnce; rows === rowsAtOnce;) {
      const found = page.all(sinceMs, ...last, ...values).map((row) => rowOf<StreamRow>(row));
      rows = found.length;
      for (const row of found) {
        if (row.started > (last[0] ?? 0)) throw damaged();
        const stream = this.#stream(row);
        if (state === undefined || state === stream.state) yield stream;
        last = [row.started, row.id];
      }
    }
  }

  /** One stream of a log; `undefined`: it has none with that name. */
  stream(name: string): AuditedStream | undefined {
    const row = this.#db
      .prepare('SELECT streams.*, key FROM streams JOIN keys ON stream = id WHERE name = ?')
      .get(name);
    return row === undefined ? undefined : this.#stream(rowOf<StreamRow>(row));
  }

  /** The records of a stream, in their order. */
  *recordsOf(stream: string): Generator<AuditedRecord> {
    yield* this.#records('name = ? AND seq > ?', 'seq', [stream], -1, ({ seq }) => seq);
  }

  /** The records of all streams, in the order in which they were written; those made at that time or later. */
  *records(sinceMs = 0): Generator<AuditedRecord> {
    yield* this.#records('at >= ? AND records.id > ?', 'records.id', [sinceMs], 0, ({ id }) => id);
  }

  /** Closes the log. A generator that is not read to its end ends with an error then. */
  close(): void {
    this.#db.close();
  }

  *#records(
    where: string,
    order: string,
    values: readonly (number | string)[],
    first: number,
    placeIn: (row: RecordRow) => number,
  ): Generator<AuditedRecord> {
    const page = this.#db.prepare(
      `SELECT records.id AS id, name AS stream, seq, kind, at, key FROM records
         JOIN streams ON streams.id = records.stream JOIN keys ON keys.stream = streams.id
         WHERE ${where} AND seq IS NOT NULL ORDER BY ${order} LIMIT ${rowsAtOnce}`,
    );
    // Contents are large: one at a time.
    const content = this.#db.prepare('SELECT content FROM records WHERE id = ?');
    for (let last = first, rows = rowsAtOnce; rows === rowsAtOnce;) {
      const found = page.all(...values, last).map((row) => rowOf<RecordRow>(row));
      rows = found.length;
      for (const row of found) {
        if (placeIn(row) <= last) throw damaged();
        yield recordOf(row, content.get(row.id)?.['content']);
        last = placeIn(row);
      }
    }
  }

  #stream({ ended, id, key, name, started, state, ...index }: StreamRow): AuditedStream {
    const { caller, code, inputTokens, model, outputTokens, provider, request, tenant } = index;
    return {
      name,
      startedMs: started,
      endedMs: ended,
      state: isErasedKey(key) ? 'erased' : ended === null ? this.#unended(id) : (state ?? 'ended'),
      tenant,
      caller,
      provider,
      model,
      request,
      code,
      inputTokens,
      outputTokens,
      usageSource: outputTokens === null && inputTokens === null ? null : this.#usageSource(id, name, key),
    };
  }

  /** It is in the record alone: the index, which is in clear, has the numbers. */
  #usageSource(id: number, name: string, key: Uint8Array): UsageSource | null {
    this.#ends ??= this.#db.prepare(
      "SELECT seq, content FROM records WHERE stream = ? AND kind = 'end' AND seq IS NOT NULL ORDER BY seq DESC LIMIT 1",
    );
    const end = this.#ends.get(id);
    if (end === undefined) return null;
    const { content, seq } = rowOf<{ content: unknown; seq: number }>(end);
    const value = content instanceof Uint8Array ? decrypt(key, placeOf(name, seq), content) : undefined;
    return value === undefined ? null : usageSourceOf(value);
  }

  #unended(id: number): string {
    const writer = this.#db
      .prepare('SELECT writer FROM records WHERE stream = ? AND seq IS NOT NULL ORDER BY seq DESC LIMIT 1')
      .get(id)?.['writer'];
    return this.#liveness.isWriting(Number(writer)) ? 'open' : 'interrupted';
  }
}

function recordOf({ at, key, kind, seq, stream }: RecordRow, content: unknown): AuditedRecord {
  const isErased = !(content instanceof Uint8Array);
  const value = isErased ? undefined : decrypt(key, placeOf(stream, seq), content);
  return { stream, seq, kind, atMs: at, value, isErased };
}
