import { readFileSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { checkpoint } from '../src/audit/audit-database.ts';
import { AuditReader } from '../src/audit/audit-reader.ts';
import { erase } from '../src/audit/erase.ts';
import { prune } from '../src/audit/prune.ts';
import { Retention } from '../src/audit/retention.ts';
import { verifyAudit } from '../src/audit/verify-audit.ts';
import {
  DatedClock,
  keptIn,
  logPath,
  never,
  openLog,
  openWriter,
  recordOf,
  streamRecords,
} from './support/audit.ts';

/** The key of each stream, read behind the log's back. */
function keysIn(path: string): Map<string, Buffer> {
  const db = new DatabaseSync(path, { readOnly: true });
  const rows = db.prepare('SELECT name, key FROM streams JOIN keys ON stream = id').all();
  db.close();
  return new Map(rows.map(({ key, name }) => [String(name), Buffer.from(key as Uint8Array)]));
}

/** The encrypted contents of a stream. */
function contentsOf(path: string, stream: string): Buffer[] {
  const db = new DatabaseSync(path, { readOnly: true });
  const rows = db
    .prepare(
      'SELECT content FROM records JOIN streams ON streams.id = stream WHERE name = ? AND seq IS NOT NULL',
    )
    .all(stream);
  db.close();
  return rows.map(({ content }) => Buffer.from(content as Uint8Array));
}

/** Whether bytes are anywhere in the files of a log. */
const isInFiles = (path: string, bytes: Uint8Array): boolean =>
  ['', '-wal'].some((end) => readFileSync(path + end).includes(bytes));

describe('what is erased is gone, and the rest is still verified', () => {
  test('one stream: its key, its content and who asked are in none of the files, while another process has the log open', async () => {
    const path = logPath();
    const log = await openLog(path);
    await log.write(
      [
        ...streamRecords('a', { caller: 'caller-a', texts: ['x'.repeat(9000)] }),
        ...streamRecords('b', { caller: 'caller-b' }),
      ],
      never,
    );
    const keys = keysIn(path);
    const [key, other] = [keys.get('a'), keys.get('b')];
    if (key === undefined || other === undefined) throw new Error('no keys');
    const contents = contentsOf(path, 'a');
    expect(isInFiles(path, key)).toBe(true);
    const writer = openWriter(path, 'eraser');
    expect(erase(path, writer, { stream: 'a' }, 1)).toEqual({ streams: 1, records: 4 });
    expect(
      [key, ...contents.map((content) => content.subarray(0, 40))].map((bytes) => isInFiles(path, bytes)),
    ).toEqual([false, false, false, false, false]);
    expect(['caller-a', 'caller-b'].map((name) => isInFiles(path, Buffer.from(name)))).toEqual([false, true]);
    expect(isInFiles(path, other)).toBe(true);
    const kept = keptIn(path);
    expect(kept['a']).toEqual(['(erased)', '(erased)', '(erased)', '(erased)']);
    expect(kept['b']).toHaveLength(4);
    expect(verifyAudit(path, [log.head])).toMatchObject({ problems: [], erased: 1, streams: 2 });
    expect(erase(path, writer, { stream: 'a' }, 2)).toEqual({ streams: 0, records: 0 });
  });

  test('what comes later of an erased stream is not kept, and the chain goes on', async () => {
    const path = logPath();
    const log = await openLog(path);
    const records = streamRecords('a', { texts: ['one', 'two'] });
    await log.write(records.slice(0, 2), never);
    erase(path, openWriter(path), { stream: 'a' }, 1);
    await log.write(records, never);
    expect(keptIn(path)['a']).toEqual(records.map(() => '(erased)'));
    const reader = new AuditReader(path);
    expect(reader.stream('a')).toMatchObject({
      state: 'erased',
      caller: null,
      tenant: null,
      outputTokens: null,
    });
    reader.close();
    expect(verifyAudit(path, [log.head]).problems).toEqual([]);
  });

  test.each([
    ['a tenant', { tenant: 'clinic' }, ['a', 'b']],
    ['a caller of a tenant', { tenant: 'clinic', caller: 'ann' }, ['a']],
    ['somebody who never asked', { tenant: 'clinic', caller: 'eve' }, []],
  ])('%s', (_what, target, erased) => {
    const path = logPath();
    const writer = openWriter(path);
    writer.write([
      ...streamRecords('a', { tenant: 'clinic', caller: 'ann' }),
      ...streamRecords('b', { tenant: 'clinic', caller: 'bob' }),
      ...streamRecords('c', { tenant: 'school', caller: 'ann' }),
    ]);
    expect(erase(path, writer, target, 1).streams).toBe(erased.length);
    const gone = Object.entries(keptIn(path)).filter(([, values]) => values.includes('(erased)'));
    expect(gone.map(([name]) => name)).toEqual(erased);
    expect(verifyAudit(path).problems).toEqual([]);
  });

  test('of many streams with large and small records, after many were pruned', () => {
    const path = logPath();
    const writer = openWriter(path);
    const streams = Array.from({ length: 400 }, (_, index) => index);
    for (const index of streams) {
      const texts = Array.from({ length: 1 + (index % 4) }, () => 'y'.repeat((index * 37) % 6000));
      writer.write(streamRecords(`s${index}`, { caller: `c${index % 3}`, atMs: 1000 + index, texts }));
    }
    prune(writer, { maxAgeMs: 100 }, 1250, 900);
    const keys = keysIn(path);
    erase(path, writer, { tenant: 'clinic', caller: 'c1' }, 1);
    for (const index of streams.filter((each) => each % 3 === 1)) {
      const key = keys.get(`s${index}`);
      if (key !== undefined) expect([index, isInFiles(path, key)]).toEqual([index, false]);
    }
    expect(verifyAudit(path).problems).toEqual([]);
  });

  test('a key that SQLite has left behind somewhere is found, and the file is written anew', () => {
    const path = logPath();
    const writer = openWriter(path);
    writer.write(streamRecords('a'));
    const key = keysIn(path).get('a');
    if (key === undefined) throw new Error('no key');
    // In a page that is not used any more, as a copy that was left would be.
    writer.db.exec('PRAGMA secure_delete = OFF; CREATE TABLE scratch(x)');
    writer.db.prepare('INSERT INTO scratch VALUES(?)').run(Buffer.concat([Buffer.alloc(5000), key]));
    writer.db.exec('DROP TABLE scratch; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA secure_delete = ON');
    erase(path, writer, { stream: 'a' }, 1);
    expect(isInFiles(path, key)).toBe(false);
    expect(verifyAudit(path).problems).toEqual([]);
  });
});

/** Writers began long ago. */
const long = new DatedClock();

/** A log with a stream a day, each of ten records; the last one is still open. */
function tenDays(): string {
  const path = logPath();
  const writer = openWriter(path, 'test', long);
  for (let day = 1; day <= 10; day += 1)
    writer.write(
      streamRecords(`day${day}`, {
        atMs: day * 1000,
        texts: Array.from({ length: 7 }, () => 'x'.repeat(3000)),
        hasEnded: day < 10,
      }),
    );
  return path;
}

describe('what is pruned leaves a chain that is verified', () => {
  test('by age: whole streams, those that are old enough', () => {
    const path = tenDays();
    const pruner = openWriter(path, 'pruner', new DatedClock(10_500));
    expect(prune(pruner, { maxAgeMs: 5000 }, 10_500, 1000)).toBe(51);
    expect(Object.keys(keptIn(path))).toEqual(['day6', 'day7', 'day8', 'day9', 'day10']);
    expect(prune(pruner, { maxAgeMs: 5000 }, 10_500, 1000)).toBe(0);
    expect(verifyAudit(path)).toMatchObject({ problems: [], pruned: 51, streams: 5 });
  });

  test('by size: the oldest that have ended, until the file has it; and the file is smaller', () => {
    const path = tenDays();
    const writer = openWriter(path, 'test', long);
    checkpoint(writer.db);
    expect(statSync(path).size).toBeGreaterThan(250_000);
    while (prune(writer, { maxBytes: 150_000 }, 10_500, 20) > 0);
    checkpoint(writer.db);
    expect(statSync(path).size).toBeLessThanOrEqual(150_000);
    const kept = Object.keys(keptIn(path));
    expect(kept.at(-1)).toBe('day10');
    expect(kept.length).toBeGreaterThan(1);
    expect(verifyAudit(path).problems).toEqual([]);
    const last = openWriter(path, 'test', long);
    while (prune(last, { maxBytes: 1 }, 10_500, 20) > 0);
    // Its writer is at work, so that it may still end.
    expect(Object.keys(keptIn(path))).toEqual(['day10']);
    while (prune(last, { maxBytes: 1 }, 10_500 + 25 * 3_600_000, 20) > 0);
    expect(keptIn(path)).toEqual({});
    expect(verifyAudit(path).problems).toEqual([]);
  });

  test('again and again, by several writers: the newest note vouches for all', () => {
    const path = tenDays();
    const pruner = openWriter(path, 'pruner', long);
    for (let nowMs = 2000; nowMs < 14_000; nowMs += 700) {
      prune(openWriter(path, 'another', long), { maxAgeMs: 2000 }, nowMs, 7);
      prune(pruner, { maxAgeMs: 2000 }, nowMs, 7);
      expect(verifyAudit(path).problems).toEqual([]);
    }
  });

  test('a beginning that is cut off without a note is found, and so is a note that was changed', () => {
    const cut = (path: string): void => {
      const db = new DatabaseSync(path);
      const { hash } = db.prepare('SELECT hash FROM records WHERE writer = 1 AND n = 41').get() ?? {};
      db.exec(
        'DELETE FROM records WHERE writer = 1 AND n <= 41; DELETE FROM keys WHERE stream <= 4; DELETE FROM streams WHERE id <= 4',
      );
      db.prepare('UPDATE writers SET base = 41, baseHash = ? WHERE id = 1').run(hash as Uint8Array);
      db.close();
    };
    const path = tenDays();
    cut(path);
    expect(verifyAudit(path).problems).toEqual([expect.objectContaining({ kind: 'missing' })]);
    const pruned = tenDays();
    prune(openWriter(pruned, 'test', long), { maxAgeMs: 7000 }, 9500, 1000);
    expect(verifyAudit(pruned)).toMatchObject({ problems: [], pruned: 21 });
    cut(pruned);
    expect(verifyAudit(pruned).problems).toEqual([expect.objectContaining({ kind: 'missing' })]);
  });

  test.each([
    [
      'who wrote a chain whose first record is gone',
      `UPDATE writers SET node = 'eve' WHERE id = 1`,
      'missing',
    ],
    [
      'what is told of an erased stream without records',
      `UPDATE streams SET caller = 'eve' WHERE name = 'day1'`,
      'index',
    ],
  ])('what was changed is still found: %s', (_what, statement, kind) => {
    const path = tenDays();
    const writer = openWriter(path, 'eraser', new DatedClock(9000));
    erase(path, writer, { stream: 'day1' }, 9000);
    prune(writer, { maxAgeMs: 7000 }, 9500, 1000);
    expect(verifyAudit(path)).toMatchObject({ problems: [], pruned: 21 });
    const db = new DatabaseSync(path);
    db.exec(statement);
    db.close();
    expect(verifyAudit(path).problems).toEqual([expect.objectContaining({ kind })]);
  });

  test('a head from before is not there any more, and that is said', () => {
    const path = logPath();
    const writer = openWriter(path, 'test', long);
    const before = writer.write(streamRecords('a', { atMs: 1000 }));
    const head = writer.write(streamRecords('b', { atMs: 9000 }));
    prune(writer, { maxAgeMs: 1000 }, 9500, 1000);
    // Where the chain begins now is known, and what is before is not.
    expect(verifyAudit(path, [before, head])).toMatchObject({ problems: [], prunedHeads: [] });
    expect(verifyAudit(path, [{ ...before, hash: 'f'.repeat(64) }]).problems).toEqual([
      expect.objectContaining({ kind: 'head' }),
    ]);
    expect(verifyAudit(path, [{ writer: 1, count: 2, hash: 'f'.repeat(64) }]).prunedHeads).toHaveLength(1);
  });

  test('a log prunes itself while it is written: a little each time, and more than comes', async () => {
    const path = logPath();
    const clock = new DatedClock();
    const writer = openWriter(path, 'test', clock);
    const retention = new Retention(writer, { maxAgeMs: 60_000 }, clock);
    for (let round = 0; round < 100; round += 1) {
      const records = streamRecords(`s${round}`, { atMs: clock.dateMs(), texts: ['x'.repeat(2000)] });
      writer.write(records);
      retention.run(records.length);
      await clock.advance(5000);
    }
    const kept = Object.keys(keptIn(path));
    // Those of a minute, and of the time between two looks.
    expect(kept.length).toBeLessThanOrEqual(15);
    expect(kept.length).toBeGreaterThanOrEqual(12);
    expect(verifyAudit(path).problems).toEqual([]);
  });

  test('a record that comes after its stream was pruned is kept', () => {
    const path = logPath();
    const writer = openWriter(path, 'test', long);
    writer.write(streamRecords('a', { atMs: 1000 }));
    prune(writer, { maxAgeMs: 10 }, 5000, 1000);
    writer.write([recordOf('a', 4, JSON.stringify({ kind: 'reader', at: 6000 }))]);
    expect(keptIn(path)['a']).toHaveLength(1);
    expect(verifyAudit(path).problems).toEqual([]);
  });
});

test('nothing reads all records to find some: every statement has an index', () => {
  const prepared = vi.spyOn(DatabaseSync.prototype, 'prepare');
  onTestFinished(() => prepared.mockRestore());
  const path = tenDays();
  const writer = openWriter(path, 'test', long);
  prune(writer, { maxAgeMs: 7000, maxBytes: 1 }, 10_500, 20);
  erase(path, writer, { tenant: 'clinic', caller: 'ann' }, 1);
  const reader = new AuditReader(path);
  expect([
    ...reader.streams({ tenant: 'clinic', state: 'open' }),
    ...reader.recordsOf('day9'),
    ...reader.records(),
  ]).not.toEqual([]);
  reader.close();
  expect(verifyAudit(path).problems).toEqual([]);
  const statements = new Set(prepared.mock.calls.map(([sql]) => sql));
  prepared.mockRestore();
  const plans = [...statements]
    .filter((sql) => !sql.startsWith('PRAGMA'))
    .flatMap((sql) =>
      writer.db
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all()
        .map(({ detail }) => String(detail)),
    );
  expect(plans.length).toBeGreaterThan(40);
  expect(plans.filter((plan) => /^SCAN (?:records|keys)\b/.test(plan))).toEqual([]);
});
