import type { PostgresSession } from '../connection/postgres-session.ts';

/** What a server keeps of what it acknowledges. */
export interface ServerGrade {
  /** The product and its version. */
  readonly engine: string;
  /** Whether each acknowledged row is on a disk. */
  readonly isSynced: boolean;
  /** Why. */
  readonly durability: string;
  readonly warnings: readonly string[];
  /** The table's number: one that is made anew under its name has another one. */
  readonly tableId: string;
}

const question = `
  SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS pages, $1::regclass::oid::text AS id,
    (SELECT string_agg(DISTINCT relkind::text || relpersistence::text, ' ') FROM pg_class
      WHERE oid = $1::regclass OR oid IN (SELECT relid FROM pg_partition_tree($1::regclass))) AS kinds`;

/** Asks a server what it keeps of a table. Rejects as a statement does. */
export async function serverGrade(
  session: PostgresSession,
  table: string,
  signal: AbortSignal,
): Promise<ServerGrade> {
  const [row = {}] = await session.run(question, [table], signal);
  const kinds = String(row['kinds']).split(' ');
  const version = String(row['version']).split(' ')[0];
  const problems = [
    // Tables, partitioned ones and their partitions, that are logged.
    ...(kinds.some((kind) => !/^[rp]p$/.test(kind))
      ? [
          `${table} or one of its partitions is unlogged, temporary or foreign, and may lose its rows in a crash: ALTER TABLE … SET LOGGED`,
        ]
      : []),
    ...(row['fsync'] === 'on'
      ? []
      : ['fsync is off, and what was acknowledged may be gone after a power failure: set it to on']),
  ];
  return {
    tableId: String(row['id']),
    engine: `PostgreSQL ${version}`,
    isSynced: problems.length === 0,
    durability: problems[0] ?? 'fsync is on, and synchronous_commit is on for each write',
    warnings: [
      ...problems,
      ...(row['pages'] === 'on'
        ? []
        : [
            'full_page_writes is off: a power failure may tear pages of the table, unless its file system never does',
          ]),
    ],
  };
}
