import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { SinkRecord } from '@spillway/core';
import { RecordGap, type RecordSource, type SourceItem } from '@spillway/core/source/record-source';
import { type SourceEngine, sourceRules } from '@spillway/core/testing';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually, spawnNode } from '../../gateway/test/support/spawn.ts';
import { openAuditSource } from '../src/audit/audit-source.ts';
import { AuditWriter } from '../src/audit/audit-writer.ts';
import { erase } from '../src/audit/erase.ts';
import { prune } from '../src/audit/prune.ts';
import { verifyAudit } from '../src/audit/verify-audit.ts';
import { nodeClock } from '../src/time/node-clock.ts';
import { logPath, never, openLog, openWriter, recordOf } from './support/audit.ts';

/** Removes the oldest so many records of a log that has one chain. */
function trim(path: string, writer: AuditWriter, count: number): void {
  const db = new DatabaseSync(path, { readOnly: true });
  const last = db
    .prepare('SELECT id FROM records WHERE seq IS NOT NULL ORDER BY id LIMIT 1 OFFSET ?')
    .get(count - 1)?.['id'];
  const rows = db.prepare('SELECT count(*) AS count FROM records WHERE id <= ?').get(Number(last))?.['count'];
  db.close();
  const later = Date.now() + 3_600_000;
  expect(prune(writer, { maxAgeMs: 1 }, later, Number(rows))).toBe(Number(rows));
}

/** An audit log as an engine. It fails when its file has another name and a folder stands in its place. */
function auditEngine(): SourceEngine {
  const path = logPath();
  const writer = new AuditWriter(path, 'test', nodeClock);
  writer.write([]);
  const open = new Map<string, RecordSource>();
  return {
    async open(name) {
      // An aborted acknowledgement of a process that crashed would not be at work any more.
      await open.get(name)?.close();
      const source = await openAuditSource(path, { name });
      open.set(name, source);
      return source;
    },
    write: (records) => void writer.write(records),
    trim: (count) => trim(path, writer, count),
    fail() {
      renameSync(path, `${path}.moved`);
      mkdirSync(path);
    },
    heal() {
      if (!existsSync(`${path}.moved`)) return;
      rmdirSync(path);
      renameSync(`${path}.moved`, path);
    },
    openCount() {
      // SQLite closes a file that two connections of a process have when the last of them is closed.
      writer.close();
      return openFiles(path);
    },
    remove: () => void writer.close(),
  };
}

function openFiles(path: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(dirname(path));
    } catch {
      return false;
    }
  }).length;
}

for (const { number, name, check } of sourceRules(() => auditEngine())) {
  test(`promise 13: the audit log, source rule ${number}: ${name}`, check);
}

async function openSource(path: string, name = 'test'): Promise<RecordSource> {
  const source = await openAuditSource(path, { name });
  onTestFinished(() => source.close());
  return source;
}

function recordsOf(stream: string, count: number, from = 0): SinkRecord[] {
  return Array.from({ length: count }, (_, index) =>
    recordOf(stream, from + index, `${stream}/${from + index}`),
  );
}

/** Items in short: `a 0`, or `removed 3-5`. */
function told(items: readonly SourceItem[]): string[] {
  return items.map((item) =>
    item instanceof RecordGap ? `${item.reason} ${item.from}-${item.to}` : `${item.stream} ${item.seq}`,
  );
}

async function readAll(source: RecordSource, count: number): Promise<SourceItem[]> {
  const items: SourceItem[] = [];
  while (items.length < count)
    items.push(...(await source.read({ maxItems: 100 }, AbortSignal.timeout(10_000))));
  return items;
}

describe('promise 13: what a reader of the audit log gets', () => {
  test('several writers at once: in the order in which it was written', async () => {
    const path = logPath();
    const [one, other] = [await openLog(path, { node: 'one' }), await openLog(path, { node: 'other' })];
    const source = await openSource(path);
    await one.write(recordsOf('a', 2), never);
    await other.write(recordsOf('b', 1), never);
    await one.write(recordsOf('a', 1, 2), never);
    await other.write(recordsOf('b', 1, 1), never);
    expect(told(await readAll(source, 5))).toEqual(['a 0', 'a 1', 'b 0', 'a 2', 'b 1']);
  });

  test('what was erased is a gap that says so, and neighbours are one', async () => {
    const path = logPath();
    const writer = openWriter(path);
    writer.write([...recordsOf('a', 1), ...recordsOf('b', 3), ...recordsOf('c', 1)]);
    erase(path, writer, { stream: 'b' }, Date.now());
    writer.write(recordsOf('b', 1, 3));
    const source = await openSource(path);
    // Row 1 is the chain's own, and so is the one that says what was erased.
    const items = await readAll(source, 4);
    expect(told(items)).toEqual(['a 0', 'erased 3-5', 'c 0', 'erased 8-8']);
    expect(items[1]).toMatchObject({ maxRecords: 3 });
    await source.acknowledge(items, never);
    expect(await source.lag(never)).toEqual({ records: 0, bytes: undefined, ms: 0 });
  });

  test('what was changed in the file is a gap, and what is behind it comes', async () => {
    const path = logPath();
    const writer = openWriter(path);
    writer.write(recordsOf('a', 3));
    writer.db.exec("UPDATE records SET content = zeroblob(100) WHERE seq = 1 AND kind = ''");
    expect(told(await readAll(await openSource(path), 3))).toEqual(['a 0', 'damaged 3-3', 'a 2']);
  });

  test('when all was removed, and more is written, the place is not before it', async () => {
    const path = logPath();
    const writer = openWriter(path);
    writer.write(recordsOf('a', 3));
    const source = await openSource(path);
    await source.acknowledge(await readAll(source, 3), never);
    expect(prune(writer, { maxAgeMs: 1 }, Date.now() + 3_600_000, 1000)).toBe(4);
    writer.write(recordsOf('b', 2));
    expect(told(await readAll(source, 2))).toEqual(['b 0', 'b 1']);
    await source.close();
    expect(told(await readAll(await openSource(path), 2))).toEqual(['b 0', 'b 1']);
    expect(verifyAudit(path).problems).toEqual([]);
  });

  test('with a place for each name, for its owner alone', async () => {
    const path = logPath();
    openWriter(path).write(recordsOf('a', 1));
    await openSource(path, 'one');
    await openSource(path, 'Two_2-b');
    const places = readdirSync(dirname(path)).filter((name) => name.includes('.place'));
    expect(places).toEqual(['audit.db.Two_2-b.place', 'audit.db.one.place']);
    for (const name of places) expect(statSync(`${dirname(path)}/${name}`).mode & 0o777).toBe(0o600);
    for (const name of ['', 'a/b', '..', 'x'.repeat(65)])
      await expect(openAuditSource(path, { name })).rejects.toMatchObject({ code: 'invalid_option' });
  });

  test('a read that waits stands in nobody’s way: the log can be emptied into its file', async () => {
    const path = logPath();
    const writer = openWriter(path);
    writer.write(recordsOf('a', 100));
    const source = await openSource(path);
    await source.read({ maxItems: 10 }, never);
    const stop = new AbortController();
    const other = await openSource(path, 'other');
    await other.read({ maxItems: 1000 }, never);
    const waiting = other.read({ maxItems: 1 }, stop.signal).catch(() => 'aborted');
    expect(writer.db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()).toMatchObject({ busy: 0 });
    stop.abort();
    expect(await waiting).toBe('aborted');
  });
});

describe('a log that is not the one that was read', () => {
  async function readLog(): Promise<{ path: string; source: RecordSource }> {
    const path = logPath();
    const writer = new AuditWriter(path, 'test', nodeClock);
    writer.write(recordsOf('a', 3));
    writer.close();
    const source = await openSource(path);
    await source.acknowledge(await readAll(source, 3), never);
    return { path, source };
  }
  function write(path: string, written: readonly SinkRecord[]): void {
    const writer = new AuditWriter(path, 'other', nodeClock);
    writer.write(written);
    writer.close();
  }
  const refused = (message: string): object => ({
    code: 'source_failed',
    message: expect.stringContaining(message),
  });

  test('removed: the read that waits says so, and it begins again when the log is back', async () => {
    const { path, source } = await readLog();
    const waiting = source.read({ maxItems: 1 }, never);
    renameSync(path, `${path}.moved`);
    await expect(waiting).rejects.toMatchObject(refused(`${path} cannot be read: ENOENT`));
    await expect(openAuditSource(path, { name: 'test' })).rejects.toMatchObject(refused(basename(path)));
    renameSync(`${path}.moved`, path);
    write(path, recordsOf('a', 1, 3));
    expect(told(await readAll(source, 1))).toEqual(['a 3']);
  });

  test('replaced by another one: nothing of it is given for that of the first', async () => {
    const { path, source } = await readLog();
    for (const end of ['', '-wal', '-shm']) rmSync(`${path}${end}`, { force: true });
    write(path, recordsOf('b', 20));
    await expect(source.read({ maxItems: 1 }, never)).rejects.toMatchObject(refused('it is another log'));
    await source.close();
    await expect(openAuditSource(path, { name: 'test' })).rejects.toMatchObject(
      refused(`remove ${path}.test.place`),
    );
    rmSync(`${path}.test.place`);
    expect(told(await readAll(await openSource(path), 20))).toHaveLength(20);
  });

  test('an older copy of it, also when it has grown again', async () => {
    const { path, source } = await readLog();
    await source.close();
    copyFileSync(path, `${path}.old`);
    write(path, recordsOf('a', 3, 3));
    const later = await openSource(path);
    await later.acknowledge(await readAll(later, 3), never);
    await later.close();
    for (const end of ['-wal', '-shm']) rmSync(`${path}${end}`, { force: true });
    copyFileSync(`${path}.old`, path);
    await expect(openAuditSource(path, { name: 'test' })).rejects.toMatchObject(
      refused('ends before the place'),
    );
    write(path, recordsOf('c', 10));
    await expect(openAuditSource(path, { name: 'test' })).rejects.toMatchObject(refused('in another way'));
  });

  test('a place that is none is not taken for the beginning', async () => {
    const { path } = await readLog();
    writeFileSync(`${path}.test.place`, '{"v":2}');
    await expect(openAuditSource(path, { name: 'test' })).rejects.toMatchObject({ code: 'invalid_option' });
  });

  test('another database', async () => {
    const path = logPath();
    new DatabaseSync(path).exec('CREATE TABLE t(a)');
    await expect(openAuditSource(path, { name: 'test' })).rejects.toMatchObject({ code: 'invalid_option' });
  });
});

test('promise 13: a reader that is killed, 8 times: each record is written, and again at most the batch that it had', async () => {
  const path = logPath();
  const file = `${path}.copy`;
  const program = fileURLToPath(new URL('support/copy-audit-log.ts', import.meta.url));
  writeFileSync(file, '');
  const lines = (): string[] => readFileSync(file, 'utf8').split('\n').slice(0, -1);
  const log = await openLog(path);
  const kills = 8;
  for (let round = 0; round <= kills; round += 1) {
    await log.write(recordsOf('a', 50, round * 50), never);
    const before = lines().length;
    const reader = spawnNode(program, [path, 'copier', file]);
    onTestFinished(() => void reader.process.kill('SIGKILL'));
    if (round < kills) {
      await eventually(() => lines().length > before, 'the reader to write');
      // Chance is what is asked for, and nothing is expected of it.
      await sleep(Math.random() * 20);
    } else
      await eventually(
        () =>
          lines()
            .at(-1)
            ?.startsWith(`a ${round * 50 + 49} `),
        'all to be written',
      );
    reader.process.kill('SIGKILL');
    await reader.exited;
  }
  const all = (kills + 1) * 50;
  expect([...new Set(lines())]).toEqual(Array.from({ length: all }, (_, seq) => `a ${seq} a/${seq}`));
  expect(lines().length).toBeLessThanOrEqual(all + kills * 5);
});
