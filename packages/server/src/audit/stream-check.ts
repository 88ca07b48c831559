import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { damaged, rowOf } from './audit-database.ts';
import type { AuditProblems } from './audit-problem.ts';
import { problemAt } from './chain-check.ts';
import { factsOf, type StreamIndex } from './record-index.ts';
import { decrypt, isErasedKey, keyBytes, placeOf } from './stream-cipher.ts';

interface StreamRow extends StreamIndex {
  readonly id: number;
  readonly name: string;
  readonly started: number;
  readonly ended: number | null;
  readonly key: Uint8Array | null;
  readonly isErased: number;
}

interface RecordRow {
  readonly writer: number;
  readonly n: number;
  readonly seq: number;
  readonly kind: string;
  readonly at: number;
  readonly content: Uint8Array | null;
}

/** Streams that are read at once, as they were at one moment. */
const streamsAtOnce = 50;
const fields = [
  'tenant',
  'caller',
  'provider',
  'model',
  'request',
  'state',
  'code',
  'inputTokens',
  'outputTokens',
] as const;
const nothing: StreamIndex = {
  tenant: null,
  caller: null,
  provider: null,
  model: null,
  request: null,
  state: null,
  code: null,
  inputTokens: null,
  outputTokens: null,
};

/**
 * Checks each stream by its own: its records decrypt with its key, its entry of the index says what they say, and content
 * is gone only where a record says that it was erased.
 */
export function checkStreams(
  db: DatabaseSync,
  problems: AuditProblems,
): { readonly streams: number; readonly erased: number } {
  const page = db.prepare(
    `SELECT streams.*, key, EXISTS(SELECT 1 FROM records WHERE kind = 'erase' AND stream = streams.id AND seq IS NULL) AS isErased
       FROM streams LEFT JOIN keys ON keys.stream = streams.id WHERE streams.id > ? ORDER BY streams.id LIMIT ${streamsAtOnce}`,
  );
  const check = new StreamCheck(db, problems);
  for (let last = -Infinity, rows = 1; rows > 0;) {
    rows = 0;
    db.exec('BEGIN');
    for (const each of page.iterate(last)) {
      const row = rowOf<StreamRow>(each);
      if (row.id <= last) throw damaged();
      check.run(row);
      last = row.id;
      rows += 1;
    }
    db.exec('COMMIT');
  }
  return check;
}

class StreamCheck {
  readonly #problems: AuditProblems;
  readonly #records: StatementSync;
  readonly #pruned: StatementSync;
  streams = 0;
  erased = 0;

  constructor(db: DatabaseSync, problems: AuditProblems) {
    this.#problems = problems;
    this.#records = db.prepare(
      'SELECT writer, n, seq, kind, at, content FROM records WHERE stream = ? AND seq IS NOT NULL ORDER BY seq',
    );
    this.#pruned = db.prepare('SELECT 1 FROM writers WHERE base > 0 LIMIT 1');
  }

  run(stream: StreamRow): void {
    const { id, key, name } = stream;
    this.streams += 1;
    const isErased = stream.isErased === 1;
    if (isErased) this.erased += 1;
    if (id < 1) this.#tell(stream, 'its number is none that a program gives');
    if (key?.length !== keyBytes || isErased !== isErasedKey(key))
      this.#tell(
        stream,
        isErased ? 'its key is there, although a record says that it was erased' : 'its key is not there',
      );
    const said: Partial<StreamIndex> = { ...nothing };
    let first: RecordRow | undefined;
    let ended: number | null = null;
    for (const each of this.#records.iterate(id)) {
      const record = rowOf<RecordRow>(each);
      first ??= record;
      if (record.kind === 'end') ended = record.at;
      const value = this.#read(stream, record, key, isErased);
      if (value !== undefined) Object.assign(said, factsOf(value).index);
    }
    if (first === undefined && !isErased) this.#tell(stream, 'it has no records');
    // A stream that lost its first records to retention keeps in the index what they said.
    const isWhole = first?.seq === 0 || this.#pruned.get() === undefined;
    const isKnown = (field: keyof StreamIndex): boolean =>
      isWhole || isErased || (ended !== null && !fromBegin.has(field));
    const wrong = fields.filter((field) => stream[field] !== said[field] && isKnown(field));
    const isLate = first !== undefined && isWhole && first.at !== stream.started;
    if (wrong.length > 0 || isLate || (ended !== stream.ended && (isWhole || ended !== null))) {
      const isEndOther = ended !== stream.ended && (isWhole || ended !== null);
      const names = [...wrong, ...(isLate ? ['started'] : []), ...(isEndOther ? ['ended'] : [])];
      this.#tell(stream, `the index of stream ${name} is not what its records say: ${names.join(', ')}`);
    }
  }

  #read(
    { name }: StreamRow,
    { content, kind, n, seq, writer }: RecordRow,
    key: Uint8Array | null,
    isErased: boolean,
  ): Uint8Array | undefined {
    const at = { n, seq, stream: name };
    if (content === null) {
      if (!isErased)
        this.#problems.add(
          problemAt('changed', writer, at, 'its content is gone, and no record says that it was erased'),
        );
      return undefined;
    }
    if (isErased)
      this.#problems.add(
        problemAt('changed', writer, at, 'its content is there, although its stream was erased'),
      );
    const value = key === null || isErased ? undefined : decrypt(key, placeOf(name, seq), content);
    if (value === undefined && !isErased)
      this.#problems.add(
        problemAt(
          'changed',
          writer,
          at,
          'its content does not decrypt: it, or the key of its stream, was changed',
        ),
      );
    if (value !== undefined && factsOf(value).kind !== kind)
      this.#problems.add(problemAt('changed', writer, at, 'its kind is not what its content says'));
    return value;
  }

  #tell({ name }: StreamRow, message: string): void {
    this.#problems.add({ kind: 'index', message, stream: name });
  }
}

/** What the first record of a stream says. */
const fromBegin: ReadonlySet<string> = new Set(['tenant', 'caller', 'provider', 'model', 'request']);
