import { type AddressInfo, createServer } from 'node:net';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EngineSink, RefusedRecords } from '@spillway/core/engine';
import type { SinkRecord } from '@spillway/core';
import { openPostgresSink, type PostgresSinkOptions } from '@spillway/postgres';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { passTime } from '../../core/test/support/pass-time.ts';
import { freePort } from '../../core/test/support/free-port.ts';
import { until } from '../../core/test/support/until.ts';
import {
  give,
  hasPostgres,
  needsPostgres,
  PostgresServer,
  removeTemplate,
} from './support/postgres-server.ts';

const { signal } = new AbortController();

afterAll(removeTemplate);

function recordOf(stream: string, seq: number, text = `${stream} ${seq}`): SinkRecord {
  return { stream, seq, value: Buffer.from(text) };
}

async function opened(options: PostgresSinkOptions): Promise<EngineSink> {
  // A machine that is busy is slow, and is no engine that fails.
  const sink = await openPostgresSink({ openTimeoutMs: 30_000, ...options });
  onTestFinished(() => sink.close());
  return sink;
}

/** What a call rejects with, in words; whatever it is must not have the password. */
async function refusal(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => new Error('expected a rejection, got none'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error)) throw new Error('expected an error');
  const denied = 'isDenied' in error && error.isDenied === true ? ' (denied)' : '';
  return `${'code' in error ? String(error.code) : 'none'}${denied}: ${error.message}`;
}

describe('one server', () => {
  let running: PostgresServer | undefined;

  beforeAll(async () => {
    if (!hasPostgres) return;
    running = await PostgresServer.start();
    appendFileSync(join(running.data, 'postgresql.conf'), '\npassword_encryption = scram-sha-256\n');
    const lines = [
      'local all all trust',
      'host all guarded 127.0.0.1/32 scram-sha-256',
      'host all all 127.0.0.1/32 trust',
      '',
    ];
    writeFileSync(join(running.data, 'pg_hba.conf'), lines.join('\n'));
    await running.sql('SELECT pg_reload_conf()');
  });

  afterAll(async () => {
    await running?.remove();
  });

  function server(): PostgresServer {
    if (running === undefined) throw new Error('expected a PostgreSQL that runs');
    return running;
  }

  test('the table is made once, whoever opens it first, and says what it has', async (context) => {
    needsPostgres(context);
    const url = `${server().url}?table=public.first`;
    const sinks = await Promise.all(Array.from({ length: 4 }, () => opened({ url })));
    await Promise.all(sinks.map((sink, index) => sink.write([recordOf(`s${index}`, 0)], signal)));
    const rows = await server().sql(
      "SELECT stream, seq, part, parts, convert_from(value, 'UTF8') AS value, now() - at < '1 hour' AS is_new FROM first ORDER BY stream",
    );
    expect(rows).toEqual(
      [0, 1, 2, 3].map((index) => ({
        stream: `s${index}`,
        seq: '0',
        part: 0,
        parts: 1,
        value: `s${index} 0`,
        is_new: true,
      })),
    );
    const [sink] = sinks;
    expect(sink?.durability).toBe('fsync');
    expect(sink?.address).toBe(`postgres://127.0.0.1:${server().port}/postgres?table=public.first`);
    expect(sink?.facts.engine).toMatch(/^PostgreSQL \d+/);
    expect(sink?.facts.warnings).toEqual([]);
  });

  test('a trial makes no table, and says that there is none', async (context) => {
    needsPostgres(context);
    const url = `${server().url}?table=tried`;
    const trial = await opened({ url, isTrial: true });
    expect(trial.facts.warnings).toEqual([expect.stringMatching(/^The table "?tried"? is not there/)]);
    expect(await server().sql("SELECT FROM pg_tables WHERE tablename = 'tried'")).toHaveLength(0);
    const sink = await opened({ url });
    expect([sink.durability, sink.facts.warnings]).toEqual([trial.durability, []]);
    expect((await opened({ url, isTrial: true })).facts).toEqual(sink.facts);
  });

  test('a trial says that a table cannot be made, as an opening does, and what to do', async (context) => {
    needsPostgres(context);
    await server().sql('CREATE ROLE maker LOGIN');
    await server().sql('REVOKE CREATE ON SCHEMA public FROM PUBLIC');
    const url = server().url.replace(/\/\/[^@]*@/, '//maker@');
    for (const [table, problem] of [
      ['nosuch.t', /"nosuch" does not exist \(3F000\): make it \(CREATE SCHEMA\)/],
      ['unmade', /permission denied for schema public \(42501\): let the user do so \(GRANT/],
    ] as const)
      for (const isTrial of [true, false])
        expect(await refusal(opened({ url, table, isTrial }))).toMatch(problem);
    await server().sql('GRANT CREATE ON SCHEMA public TO maker');
    const trial = await opened({ url, table: 'unmade', isTrial: true });
    expect(trial.facts.warnings).toEqual([expect.stringMatching(/^The table "?unmade"? is not there/)]);
    await opened({ url, table: 'unmade' });
  });

  test('promise 15: a statement is bounded, and is one transaction', async (context) => {
    needsPostgres(context);
    const sink = await opened({ url: server().url, table: 'bounded' });
    const small = Array.from({ length: 2000 }, (_, seq) => recordOf('small', seq));
    await sink.write(small, signal);
    const value = Buffer.alloc(6_000_000, 1);
    await sink.write(
      [0, 1, 2].map((seq) => ({ stream: 'large', seq, value })),
      signal,
    );
    const rows = await server().sql(
      'SELECT stream, count(*)::int, count(DISTINCT xmin::text)::int AS statements FROM bounded GROUP BY stream ORDER BY stream',
    );
    expect(rows).toEqual([
      { stream: 'large', count: 3, statements: 3 },
      { stream: 'small', count: 2000, statements: 1 },
    ]);
  });

  test('promise 15: a write that waits for a lock ends when it is aborted, on the server, too', async (context) => {
    needsPostgres(context);
    const sink = await opened({ url: server().url, table: 'locked' });
    const holder = await server().client();
    onTestFinished(() => holder.end());
    await holder.query('BEGIN; LOCK TABLE locked');
    const waiting = async (): Promise<number> => {
      const rows = await server().sql(
        "SELECT pid FROM pg_stat_activity WHERE query LIKE '%INSERT INTO \"locked\"%' AND wait_event_type = 'Lock'",
      );
      return rows.length;
    };
    const reason = new Error('it takes too long');
    for (let round = 0; round < 3; round += 1) {
      const abort = new AbortController();
      const writing = refusal(sink.write([recordOf('a', 0)], abort.signal));
      await until(async () => (await waiting()) === 1, 'the statement waits for the lock');
      abort.abort(reason);
      expect(await writing).toBe('none: it takes too long');
      await until(async () => (await waiting()) === 0, 'the statement has ended');
    }
    await holder.query('COMMIT');
    await sink.write([recordOf('a', 0)], signal);
    expect(await server().sql('SELECT stream FROM locked')).toHaveLength(1);
  });

  test('promise 15: a connection that the server has ended is made anew', async (context) => {
    needsPostgres(context);
    const sink = await opened({ url: `${server().url}?application_name=ended`, table: 'ended' });
    await sink.write([recordOf('a', 0)], signal);
    const ids = (): Promise<readonly unknown[]> =>
      server().sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'ended'");
    await server().sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ended'",
    );
    await until(async () => (await ids()).length === 0, 'the connection has ended');
    await until(
      async () =>
        sink.write([recordOf('a', 1)], signal).then(
          () => true,
          () => false,
        ),
      'it works again',
    );
    expect(await ids()).toHaveLength(1);
    expect(await server().sql('SELECT seq FROM ended')).toHaveLength(2);
  });

  test('promise 15: what is no JSON that jsonb keeps is refused, and the others are kept', async (context) => {
    needsPostgres(context);
    const sink = await opened({ url: `${server().url}?json=1&table=jsons` });
    const texts = [
      '{"a":1}',
      '{"secret":"\\u0000"}',
      '[]',
      '{"secret":"\\ud800"}',
      '{"secret"',
      '{"b":"ü"}',
      '[1e999999]',
      '',
    ];
    const records = [
      ...texts.map((text, seq) => recordOf('a', seq, text)),
      { stream: 'a', seq: 8, value: Buffer.from([0x22, 0xff, 0x22]) },
      recordOf('a', 9, '"last"'),
    ];
    const error: unknown = await sink.write(records, signal).catch((problem: unknown) => problem);
    if (!(error instanceof RefusedRecords)) throw new Error(`expected RefusedRecords, got ${String(error)}`);
    expect(error.refused.map(({ record }) => record.seq)).toEqual([1, 3, 4, 6, 7, 8]);
    expect(error.refused.map(({ record }) => records.includes(record))).not.toContain(false);
    expect(error.refused.map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/U\+0000.*22P05/),
      expect.stringMatching(/U\+0000.*22P05|not JSON.*22P02/),
      expect.stringMatching(/not JSON.*22P02/),
      expect.stringMatching(/number.*22003/),
      expect.stringMatching(/not JSON.*22P02/),
      expect.stringMatching(/not UTF-8.*22021/),
    ]);
    expect(JSON.stringify(error.refused.map(({ reason }) => reason)) + error.message).not.toContain('secret');
    expect(await server().sql('SELECT seq::int, record FROM jsons ORDER BY seq')).toEqual([
      { seq: 0, record: { a: 1 } },
      { seq: 2, record: [] },
      { seq: 5, record: { b: 'ü' } },
      { seq: 9, record: 'last' },
    ]);
    // What cannot be read is no connection that fails.
    await sink.write([recordOf('a', 10, '{}')], signal);
  });

  test('promise 15: a record of too many parts is refused, and the others are kept', async (context) => {
    needsPostgres(context);
    const sink = await opened({ url: server().url, table: 'huge', maxEntryBytes: 1024 });
    const huge = { stream: 'a', seq: 1, value: new Uint8Array(100_000 * 1024 + 1) };
    const error: unknown = await sink
      .write([recordOf('a', 0), huge, recordOf('a', 2)], signal)
      .catch((came: unknown) => came);
    expect(error).toBeInstanceOf(RefusedRecords);
    // The very object: to compare its bytes would take minutes.
    expect(error instanceof RefusedRecords && error.refused.map(({ record }) => record === huge)).toEqual([
      true,
    ]);
    expect(await server().sql('SELECT seq::int FROM huge ORDER BY seq')).toEqual([{ seq: 0 }, { seq: 2 }]);
  });

  test('a record of several parts has no JSON, and its parts are its bytes', async (context) => {
    needsPostgres(context);
    const sink = await opened({ url: server().url, table: 'parted', json: true, maxEntryBytes: 1024 });
    const text = JSON.stringify({ text: 'ü'.repeat(2000) });
    await sink.write([recordOf('a', 0, text), recordOf('a', 1, '{}')], signal);
    expect(
      await server().sql(`
        SELECT seq::int, convert_from(string_agg(value, '' ORDER BY part), 'UTF8') AS value, count(record)::int
        FROM parted GROUP BY stream, seq HAVING count(*) = max(parts) ORDER BY seq`),
    ).toEqual([
      { seq: 0, value: text, count: 0 },
      { seq: 1, value: '{}', count: 1 },
    ]);
  });

  test('a table that is another one is refused, with the SQL that makes it', async (context) => {
    needsPostgres(context);
    await server().sql('CREATE TABLE no_key (stream text, seq bigint, part int, parts int, value bytea)');
    await server().sql('CREATE TABLE other (id int)');
    await server().sql('CREATE VIEW seen AS SELECT 1 AS stream');
    const { url } = server();
    const open = (table: string, options = {}): Promise<string> =>
      refusal(openPostgresSink({ url, table, ...options }));
    expect(await open('missing', { create: false })).toMatch(
      /^invalid_option: table "missing".*does not exist.*\nCREATE TABLE IF NOT EXISTS "missing"/,
    );
    expect(await open('no_key')).toMatch(/^invalid_option: .*no unique.*\nCREATE TABLE/);
    expect(await open('other')).toMatch(/^invalid_option: .*"stream".*\nCREATE TABLE/);
    expect(await open('seen')).toMatch(/^invalid_option: .*\nCREATE TABLE/);
    expect(await open('nowhere.missing')).toMatch(/^sink_failed: .*schema "nowhere" does not exist/);
    await opened({ url, table: 'plain' });
    expect(await open('plain', { json: true })).toMatch(/^invalid_option: .*"record".*\n[^]*record jsonb/);
  });

  test('row-level security that refuses rows is named, with what helps', async (context) => {
    needsPostgres(context);
    await opened({ url: server().url, table: 'guarded' });
    await server().sql('CREATE ROLE guest LOGIN');
    await server().sql('GRANT INSERT, SELECT ON guarded TO guest');
    await server().sql('ALTER TABLE guarded ENABLE ROW LEVEL SECURITY');
    const sink = await opened({ url: server().url.replace('postgres@', 'guest@'), table: 'guarded' });
    const told = await refusal(sink.write([recordOf('a', 0)], signal));
    expect(told).toMatch(/row-level security.*42501.*: let a policy of the table allow/);
    expect(told).not.toContain('GRANT');
    await server().sql('CREATE POLICY writes ON guarded FOR INSERT TO guest WITH CHECK (true)');
    await server().sql('CREATE POLICY looks ON guarded FOR SELECT TO guest USING (true)');
    await sink.write([recordOf('a', 0)], signal);
    expect(await server().sql('SELECT seq FROM guarded')).toHaveLength(1);
  });

  test('who may insert and look for the key needs no more', async (context) => {
    needsPostgres(context);
    await opened({ url: server().url, table: 'granted' });
    await server().sql('CREATE ROLE writer LOGIN');
    const url = server().url.replace('postgres@', 'writer@');
    expect(await refusal(openPostgresSink({ url, table: 'granted' }))).toMatch(
      /^sink_failed \(denied\): .*permission denied.*42501/,
    );
    await server().sql('GRANT INSERT, SELECT (stream, seq, part) ON granted TO writer');
    const sink = await opened({ url, table: 'granted' });
    await sink.write([recordOf('a', 0)], signal);
    expect(await server().sql('SELECT seq FROM granted')).toHaveLength(1);
  });

  test('a password opens, in the URL or beside it, and is in no error', async (context) => {
    needsPostgres(context);
    await server().sql("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'pass@word'");
    const host = `127.0.0.1:${server().port}/postgres?table=guarded`;
    await opened({ url: `postgres://guarded:pass%40word@${host}` });
    const sink = await opened({ url: `postgresql://guarded:wrong@${host}`, password: 'pass@word' });
    expect(JSON.stringify([sink.address, sink.facts])).not.toContain('pass');
    const wrong = await refusal(openPostgresSink({ url: `postgres://guarded:wrong%40word@${host}` }));
    expect(wrong).toMatch(/^sink_failed \(denied\): .*authentication failed.*28P01/);
    expect(wrong).not.toContain('wrong');
  });

  test('what a table keeps only in memory is no fsync', async (context) => {
    needsPostgres(context);
    const { url } = server();
    await opened({ url, table: 'unlogged' });
    await server().sql('ALTER TABLE unlogged SET UNLOGGED');
    const sink = await opened({ url, table: 'unlogged' });
    expect(sink.durability).toBe('memory');
    expect(sink.facts.durability).toMatch(/unlogged/);
    expect(sink.facts.warnings).toEqual([expect.stringMatching(/SET LOGGED/)]);
  });

  test('promise 15: a table that becomes less while it is connected is not written to 5 s later', async (context) => {
    needsPostgres(context);
    const sink = await opened({ url: server().url, table: 'lessened' });
    await sink.write([recordOf('a', 0)], signal);
    await server().sql('ALTER TABLE lessened SET UNLOGGED');
    passTime(5001);
    expect(await refusal(sink.write([recordOf('a', 1)], signal))).toMatch(/^sink_failed: .*SET LOGGED/);
    expect(await server().sql('SELECT seq FROM lessened')).toHaveLength(1);
    await server().sql('ALTER TABLE lessened SET LOGGED');
    await sink.write([recordOf('a', 1)], signal);
    expect(await server().sql('SELECT seq FROM lessened')).toHaveLength(2);
  });

  test('promise 15: a table that is gone is made anew, and said to be', async (context) => {
    needsPostgres(context);
    const sink = await opened({ url: server().url, table: 'vanished' });
    await sink.write([recordOf('a', 0)], signal);
    await server().sql('DROP TABLE vanished');
    await refusal(sink.write([recordOf('a', 1)], signal));
    await sink.write([recordOf('a', 1)], signal);
    expect(sink.facts.forgot).toEqual({ times: 1, why: expect.stringContaining('"vanished"') });
  });

  test('promise 15: a table that another program has made anew is said to be within 5 s', async (context) => {
    needsPostgres(context);
    const url = server().url;
    const [sink, other] = [await opened({ url, table: 'renewed' }), await opened({ url, table: 'renewed' })];
    await sink.write([recordOf('a', 0)], signal);
    await server().sql('DROP TABLE renewed');
    await refusal(other.write([recordOf('b', 0)], signal));
    await other.write([recordOf('b', 0)], signal);
    passTime(5001);
    await sink.write([recordOf('a', 1)], signal);
    await sink.write([recordOf('a', 2)], signal);
    for (const { facts } of [sink, other])
      expect(facts.forgot).toEqual({ times: 1, why: expect.stringContaining('"renewed"') });
    // What was only emptied or rewritten is the same table.
    await server().sql('VACUUM FULL renewed');
    passTime(5001);
    await sink.write([recordOf('a', 3)], signal);
    expect(sink.facts.forgot?.times).toBe(1);
  });

  test('promise 15: a server that syncs no more is not written to by a sink that was fsync', async (context) => {
    needsPostgres(context);
    const sink = await opened({ url: `${server().url}?application_name=graded`, table: 'graded' });
    const set = async (value: string): Promise<void> => {
      await server().sql(`ALTER SYSTEM SET fsync = ${value}`);
      await server().sql('SELECT pg_reload_conf()');
      await until(
        async () => (await server().sql('SHOW fsync'))[0]?.['fsync'] === value,
        `fsync is ${value}`,
      );
      await server().sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'graded'",
      );
    };
    await set('off');
    try {
      // The first one may find out only that its connection has ended.
      await refusal(sink.write([recordOf('a', 0)], signal));
      expect(await refusal(sink.write([recordOf('a', 0)], signal))).toMatch(/^sink_failed: .*fsync is off/);
      const other = await opened({ url: server().url, table: 'graded' });
      expect(other.durability).toBe('memory');
      expect(other.facts.warnings).toEqual([expect.stringMatching(/fsync is off/)]);
    } finally {
      await set('on');
    }
    await until(
      async () =>
        sink.write([recordOf('a', 0)], signal).then(
          () => true,
          () => false,
        ),
      'it works again',
    );
  });

  test('a database that is not there is said to be, with what to do', async (context) => {
    needsPostgres(context);
    const missing = server().url.replace(/\/[^/]*$/, '/missing');
    expect(await refusal(openPostgresSink({ url: missing }))).toMatch(/3D000.*: make it \(createdb\)/);
  });

  test('TLS is as libpq has it', async (context) => {
    needsPostgres(context);
    const { folder, port } = server();
    const keys = (name: string): readonly string[] => [
      join(folder, `${name}.key`),
      join(folder, `${name}.crt`),
    ];
    const [key = '', certificate = ''] = keys('own');
    const [, other = ''] = keys('other');
    for (const [name, host] of [
      ['own', 'localhost'],
      ['other', 'localhost'],
    ] as const) {
      const [itsKey = '', its = ''] = keys(name);
      const subject = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`];
      execFileSync(
        'openssl',
        [
          'req',
          '-new',
          '-x509',
          '-days',
          '2',
          '-nodes',
          '-newkey',
          'rsa:2048',
          '-keyout',
          itsKey,
          '-out',
          its,
          ...subject,
        ],
        { stdio: 'ignore' },
      );
      chmodSync(itsKey, 0o600);
      give(itsKey);
    }
    const open = (mode: string, root?: string, host = 'localhost'): Promise<EngineSink> =>
      opened({
        url: `postgres://postgres@${host}:${port}/postgres?table=tls&sslmode=${mode}${root === undefined ? '' : `&sslrootcert=${root}`}`,
      });
    // Before it has a certificate.
    await open('prefer');
    expect(await refusal(open('require'))).toMatch(/^sink_failed: .*does not support SSL/);
    await server().sql(`ALTER SYSTEM SET ssl_key_file = '${key}'`);
    await server().sql(`ALTER SYSTEM SET ssl_cert_file = '${certificate}'`);
    await server().sql('ALTER SYSTEM SET ssl = on');
    await server().sql('SELECT pg_reload_conf()');
    await until(async () => (await server().sql('SHOW ssl'))[0]?.['ssl'] === 'on', 'it has TLS');
    await open('verify-full', certificate);
    await open('verify-ca', certificate, '127.0.0.1');
    await open('require');
    await open('allow');
    expect(await refusal(open('verify-full', certificate, '127.0.0.1'))).toMatch(/^sink_failed: .*altnames/);
    expect(await refusal(open('verify-ca', other))).toMatch(/^sink_failed: .*self-signed/);
    expect(await refusal(open('require', other))).toMatch(/^sink_failed: .*self-signed/);
    expect(await refusal(open('require', `${folder}/nothing`))).toMatch(
      /^invalid_option: .*sslrootcert.*ENOENT/,
    );
    const sink = await open('prefer');
    const encrypted = await server().sql(
      "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'spillway'",
    );
    expect(encrypted.filter(({ ssl }) => ssl === true)).toHaveLength(4);
    // A statement is ended by way of TLS, too.
    const holder = await server().client();
    onTestFinished(() => holder.end());
    await holder.query('BEGIN; LOCK TABLE tls');
    const abort = new AbortController();
    const writing = refusal(sink.write([recordOf('a', 0)], abort.signal));
    const waiting = async (): Promise<boolean> =>
      (await server().sql("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'")).length > 0;
    await until(waiting, 'the statement waits for the lock');
    abort.abort(new Error('it takes too long'));
    await writing;
    await until(async () => !(await waiting()), 'the statement has ended');
  });

  test('a Unix socket is a host', async (context) => {
    needsPostgres(context);
    const { folder, port } = server();
    const host = encodeURIComponent(folder);
    await opened({ url: `postgres://postgres@${host}:${port}/postgres?table=socket` });
  });
});

describe('a server that fails', () => {
  test('promise 15: what was acknowledged is there after a kill, whatever the server acknowledges by itself', async (context) => {
    needsPostgres(context);
    // What was given to the system outlives processes, synced or not; without syncs it is sooner there again.
    const server = await PostgresServer.start(['synchronous_commit=off', 'fsync=off']);
    onTestFinished(() => server.remove());
    const sink = await opened({ url: server.url, table: 'kept' });
    // It would write down what others acknowledge too early.
    const [writer] = await server.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
    process.kill(Number(writer?.['pid']), 'SIGSTOP');
    await sink.write([recordOf('a', 0)], signal);
    await server.kill();
    expect(await refusal(sink.write([recordOf('a', 1)], signal))).toMatch(/^sink_failed: /);
    expect(await refusal(openPostgresSink({ url: server.url, table: 'kept' }))).toMatch(
      /^sink_failed: .*ECONNREFUSED/,
    );
    await server.start();
    expect(await server.sql('SELECT seq FROM kept')).toHaveLength(1);
    await sink.write([recordOf('a', 0), recordOf('a', 1)], signal);
    // Its processes are there, and say nothing.
    server.stop();
    const abort = new AbortController();
    const writing = refusal(sink.write([recordOf('a', 2)], abort.signal));
    abort.abort(new Error('it is silent'));
    expect(await writing).toBe('none: it is silent');
    expect(await refusal(openPostgresSink({ url: server.url, openTimeoutMs: 200 }))).toMatch(
      /^sink_failed: .*within 200 ms/,
    );
    server.continue();
    await sink.write([recordOf('a', 2)], signal);
    expect(await server.sql('SELECT seq FROM kept')).toHaveLength(3);
  });

  test('promise 15: a standby takes no writes, and is written to when it is the primary', async (context) => {
    needsPostgres(context);
    const primary = await PostgresServer.start(['fsync=off']);
    onTestFinished(() => primary.remove());
    await opened({ url: primary.url, table: 'moved' });
    const standby = await primary.startStandby();
    onTestFinished(() => standby.remove());
    const options = { url: standby.url, table: 'moved' };
    expect(await refusal(openPostgresSink(options))).toMatch(/^sink_failed: .*read-only/);
    const nobodyPort = await freePort();
    const hosts = [nobodyPort, standby.port, primary.port].map((port) => `127.0.0.1:${port}`).join(',');
    const sink = await opened({ url: `postgres://postgres@${hosts}/postgres?table=moved` });
    await sink.write([recordOf('a', 0)], signal);
    await until(async () => (await standby.sql('SELECT seq FROM moved')).length === 1, 'the standby has it');
    await primary.kill();
    expect(await refusal(sink.write([recordOf('a', 1)], signal))).toMatch(/^sink_failed: /);
    await standby.sql('SELECT pg_promote()');
    await sink.write([recordOf('a', 0), recordOf('a', 1)], signal);
    expect(await standby.sql('SELECT seq FROM moved')).toHaveLength(2);
  });

  test('promise 15: a full disk rejects, and works again when there is room', async (context) => {
    needsPostgres(context);
    if (spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status !== 0) {
      context.skip('needs the right to mount something in a namespace');
      return;
    }
    const server = await PostgresServer.start(['fsync=off'], 8_000_000);
    onTestFinished(() => server.remove());
    await server.sql(`CREATE TABLESPACE small LOCATION '${server.smallDisk}'`);
    await server.sql("ALTER DATABASE postgres SET default_tablespace = 'small'");
    const sink = await opened({ url: server.url, table: 'filled' });
    // Random, or it would be compressed.
    const recordAt = (seq: number): SinkRecord => ({ stream: 'a', seq, value: randomBytes(500_000) });
    let problem = '';
    let seq = 0;
    while (problem === '' && seq < 100) {
      problem = await sink.write([recordAt(seq)], signal).then(
        () => '',
        (error: unknown) => String(error),
      );
      seq += 1;
    }
    expect(problem).toMatch(/No space left on device.*53100/);
    expect(await server.sql('SELECT seq FROM filled')).toHaveLength(seq - 1);
    // The sink makes it again.
    await server.sql('DROP TABLE filled');
    await sink.write([recordAt(seq)], signal);
    expect(await server.sql('SELECT seq FROM filled')).toHaveLength(1);
  });
});

test.each([
  ['mysql://host/db', /expected postgres:\/\/USER/],
  ['postgres://user:secret/word@host/db', /written as %40/],
  ['postgres://user:secret%zz@host/db', /base 16/],
  ['postgres://user:secret@host:99999/db', /HOST:PORT/],
  ['postgres://user:secret', /HOST:PORT/],
  ['postgres://user:x@host/db?my%20secret', /got another one/],
  [
    'postgres://user:secret@host/db?tabel=x',
    /expected the parameters .*table, got tabel: did you mean table\?/,
  ],
  ['postgres://user:secret@host/db?table=a&table=b', /table=VALUE once/],
  ['postgres://user:secret@host/db?json=yes', /json=0 or json=1/],
  ['postgres://user:secret@host/db?table=a.b.c', /SCHEMA\.NAME/],
  ['postgres://user:secret@host/db?table=a%22b', /SCHEMA\.NAME/],
  ['postgres://user:secret@host/db?host=other', /got both/],
  ['postgres://user:secret@host/db?sslmode=maybe', /sslmode.*verify-full, got maybe/],
])('what is wrong with %s is said, without its password', async (url, words) => {
  const error = await refusal(openPostgresSink({ url }));
  expect(error).toMatch(/^invalid_option: /);
  expect(error).toMatch(words);
  expect(error).not.toContain('secret');
});

test('a server that has no TLS, and then is away, is not said to lack TLS', async () => {
  const listening = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (bytes) => {
      // A request for TLS has 8 bytes.
      if (bytes.length === 8) socket.end('N');
      else socket.destroy();
    });
  });
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void listening.close());
  const { port } = listening.address() as AddressInfo;
  const away = await refusal(openPostgresSink({ url: `postgres://postgres@127.0.0.1:${port}/postgres` }));
  expect(away).toMatch(/^sink_failed: .*terminated/);
  expect(away).not.toContain('SSL');
  const required = openPostgresSink({
    url: `postgres://postgres@127.0.0.1:${port}/postgres?sslmode=require`,
  });
  expect(await refusal(required)).toContain('does not support SSL');
});

test.each([[{ openTimeoutMs: 0 }], [{ maxEntryBytes: 100 }], [{ maxEntryBytes: 2 ** 30 }]])(
  'a wrong option is refused: %j',
  async (options) => {
    expect(await refusal(openPostgresSink({ url: 'postgres://host/db', ...options }))).toMatch(
      /^invalid_option: /,
    );
  },
);

test('what the URL leaves out is taken from the environment of libpq', async () => {
  const port = await freePort();
  const before = { ...process.env };
  Object.assign(process.env, {
    PGHOST: '127.0.0.1',
    PGPORT: String(port),
    PGDATABASE: 'base',
    PGSSLMODE: 'disable',
  });
  try {
    const error = await refusal(openPostgresSink({ url: 'postgres://?table=x' }));
    expect(error).toMatch(
      new RegExp(`^sink_failed: postgres://127\\.0\\.0\\.1:${port}/base\\?table=x: .*ECONNREFUSED`),
    );
    process.env['PGPORT'] = 'none';
    expect(await refusal(openPostgresSink({ url: 'postgres://' }))).toMatch(/^invalid_option: .*PGPORT/);
  } finally {
    for (const name of ['PGHOST', 'PGPORT', 'PGDATABASE', 'PGSSLMODE']) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
});
