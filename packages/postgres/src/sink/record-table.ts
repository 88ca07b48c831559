import type { RecordPart } from '@spillway/core/engine';
import { SpillwayError } from '@spillway/core';
import { arrayParameter, int4, int8 } from './array-parameter.ts';

/** The values of one statement, unless one record has more. */
const maxBytes = 8_388_608;
/** The rows of one statement. */
const maxRows = 10_000;

/** The table that records are written to, and its SQL. */
export class RecordTable {
  /** For people and for SQL: quoted, as `"public"."llm"`. */
  readonly name: string;
  /** What makes it. */
  readonly definition: string;
  /** Adds rows that are not there: {@link valuesOf} gives its values. */
  readonly insertion: string;

  /** @throws {SpillwayError} `invalid_option` for a name that no table has. */
  constructor(name: string, hasJson: boolean) {
    const words = name.split('.');
    if (words.length > 2 || words.some((word) => !isName(word)))
      throw new SpillwayError(
        'invalid_option',
        `table: expected NAME or SCHEMA.NAME, each of 1 to 63 bytes without quotes, got ${name}.`,
      );
    this.name = words.map((word) => `"${word}"`).join('.');
    const columns = [
      'stream text COLLATE "C" NOT NULL',
      'seq bigint NOT NULL',
      'part integer NOT NULL',
      'parts integer NOT NULL',
      'at timestamptz NOT NULL DEFAULT clock_timestamp()',
      'value bytea NOT NULL',
      ...(hasJson ? ['record jsonb'] : []),
      'PRIMARY KEY (stream, seq, part)',
    ];
    this.definition = `CREATE TABLE IF NOT EXISTS ${this.name} (\n  ${columns.join(',\n  ')}\n)`;
    // The server's own setting may acknowledge what is not synced. It is asked for here and not for the session, because a
    // pooler gives the session to others. What waits for more than its disk still does.
    this.insertion = `
      INSERT INTO ${this.name} (stream, seq, part, parts, value${hasJson ? ', record' : ''})
      SELECT given.stream, given.seq, given.part, given.parts, given.value
        ${hasJson ? ", CASE WHEN given.parts = 1 THEN convert_from(given.value, 'UTF8')::jsonb END" : ''}
      FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::integer[], $5::bytea[])
          AS given (stream, seq, part, parts, value),
        (SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
          WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true) AS level) AS asked
      WHERE asked.level IS NOT NULL
      ON CONFLICT (stream, seq, part) DO NOTHING`;
  }
}

/** The values of an insertion. */
export function valuesOf(parts: readonly RecordPart[]): readonly Buffer[] {
  return [
    arrayParameter(
      'text',
      parts.map(({ stream }) => Buffer.from(stream)),
    ),
    arrayParameter(
      'int8',
      parts.map(({ seq }) => int8(seq)),
    ),
    arrayParameter(
      'int4',
      parts.map(({ part }) => int4(part)),
    ),
    arrayParameter(
      'int4',
      parts.map(({ parts: count }) => int4(count)),
    ),
    arrayParameter(
      'bytea',
      parts.map(({ value }) => value),
    ),
  ];
}

/** Rows as statements take them: in order, each of at most so many bytes and rows, or one row that is larger. */
export function* statementsOf<Row extends { readonly part: RecordPart }>(
  rows: readonly Row[],
): Generator<readonly Row[]> {
  let from = 0;
  let bytes = 0;
  for (const [index, { part }] of rows.entries()) {
    const isFull = bytes + part.value.byteLength > maxBytes || index - from === maxRows;
    if (isFull && index > from) {
      yield rows.slice(from, index);
      from = index;
      bytes = 0;
    }
    bytes += part.value.byteLength;
  }
  if (from < rows.length) yield rows.slice(from);
}

function isName(word: string): boolean {
  const bytes = Buffer.byteLength(word);
  return bytes >= 1 && bytes <= 63 && !/["\0]/.test(word);
}
