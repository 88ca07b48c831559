import { randomUUID } from 'node:crypto';
import { type SinkEngine, sinkRules } from '@spillway/core/testing';
import { openPostgresSink, type PostgresSinkOptions } from '@spillway/postgres';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { until } from '../../core/test/support/until.ts';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';
import { BreakableProxy } from '../../core/test/support/breakable-proxy.ts';
import { hasPostgres, needsPostgres, PostgresServer, removeTemplate } from './support/postgres-server.ts';
import { recordsOf } from './support/read-table.ts';

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
  const proxy = await BreakableProxy.start(running.port);
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
    fail: () => proxy.refuse(),
    hang: () => proxy.hold(),
    heal: () => proxy.heal(),
    async openCount() {
      // The server closes its end after the client does.
      await until(() => proxy.count === 0, 'no connection').catch(() => undefined);
      return proxy.count;
    },
    async remove() {
      await proxy.close();
      await running.sql(`DROP TABLE IF EXISTS ${table}`);
    },
  };
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

test('promise 15: PostgreSQL takes no record with an id that comes back as something else', async (context) => {
  needsPostgres(context);
  await expectOddRefused(await tableEngine({}));
});
