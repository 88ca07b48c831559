import { randomUUID } from 'node:crypto';
import type { SinkRecord } from '@spillway/core';
import { RecordJoiner } from '@spillway/core/engine';
import { type SinkEngine, sinkRules } from '@spillway/core/testing';
import { openPostgresSink, type PostgresSinkOptions } from '@spillway/postgres';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { BreakingProxy } from './support/breaking-proxy.ts';
import {
  hasPostgres,
  needsPostgres,
  PostgresServer,
  removeTemplate,
  until,
} from './support/postgres-server.ts';

let server: PostgresServer | undefined;

beforeAll(async () => {
  if (hasPostgres) server = await PostgresServer.start();
});

afterAll(async () => {
  await server?.remove();
  removeTemplate();
});

/** A table of a real PostgreSQL, behind a proxy that fails and is silent when it is told to. */
async function tableEngine(options: Partial<PostgresSinkOptions>): Promise<SinkEngine> {
  const running = server;
  if (running === undefined) throw new Error('expected a PostgreSQL that runs');
  const proxy = await BreakingProxy.start(running.port);
  const table = `t${randomUUID().replaceAll('-', '')}`;
  const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres?sslmode=disable`;
  return {
    // A machine that is busy is slow, and is no engine that fails.
    open: () => openPostgresSink({ url, table, openTimeoutMs: 30_000, ...options }),
    records: () => recordsOf(running, table),
    async refuse({ seq, stream }) {
      await running.sql(
        `ALTER TABLE ${table} ADD CONSTRAINT no_such CHECK (stream <> '${stream}' OR seq <> ${seq})`,
      );
    },
    fail: () => proxy.cut(),
    hang: () => proxy.hold(),
    heal: () => proxy.work(),
    async openCount() {
      // The server closes its end after the client does.
      await until(() => proxy.openCount === 0, 'no connection').catch(() => undefined);
      return proxy.openCount;
    },
    async remove() {
      await proxy.close();
      await running.sql(`DROP TABLE IF EXISTS ${table}`);
    },
  };
}

/** A row as `pg` gives it: a bigint may be more than a number keeps. */
interface TableRow {
  readonly stream: string;
  readonly seq: string;
  readonly part: number;
  readonly parts: number;
  readonly value: Uint8Array;
}

/** What a reader finds: the records whose parts are all there. */
async function recordsOf(running: PostgresServer, table: string): Promise<readonly SinkRecord[]> {
  const rows = await running.sql(`SELECT * FROM ${table} ORDER BY stream, seq, part`);
  const joiner = new RecordJoiner<undefined>();
  return rows.flatMap((row) => {
    const { part, parts, seq, stream, value } = row as unknown as TableRow;
    const joined = joiner.add({ part, parts, stream, seq: Number(seq), value }, undefined);
    return joined.kind === 'record' ? [joined.record] : [];
  });
}

describe.each<readonly [string, Partial<PostgresSinkOptions>]>([
  ['records', {}],
  ['records of several parts', { maxEntryBytes: 1024 }],
])('%s', (_name, options) => {
  for (const { number, name, check } of sinkRules(() => tableEngine(options), {
    steps: 25,
    deadlineMs: 40_000,
  })) {
    test(`promise 15: PostgreSQL, sink rule ${number}: ${name}`, async (context) => {
      needsPostgres(context);
      await check(context);
    });
  }
});
