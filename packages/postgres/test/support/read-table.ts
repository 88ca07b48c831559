import type { SinkRecord } from '@spillway/core';
import { RecordJoiner } from '@spillway/core/engine';
import type { PostgresServer } from './postgres-server.ts';

/** A row as `pg` gives it: a bigint may be more than a number keeps. */
interface TableRow {
  readonly stream: string;
  readonly seq: string;
  readonly part: number;
  readonly parts: number;
  readonly value: Uint8Array;
}

/** What a reader of a table finds: the records whose parts are all there. */
export async function recordsOf(server: PostgresServer, table: string): Promise<readonly SinkRecord[]> {
  const rows = await server.sql(`SELECT * FROM ${table} ORDER BY stream, seq, part`);
  const joiner = new RecordJoiner<undefined>();
  return rows.flatMap((row) => {
    const { part, parts, seq, stream, value } = row as unknown as TableRow;
    const joined = joiner.add({ part, parts, stream, seq: Number(seq), value }, undefined);
    return joined.kind === 'record' ? [joined.record] : [];
  });
}
