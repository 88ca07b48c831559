import {
  chmodSync,
  copyFileSync,
  existsSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { eventually } from '../../gateway/test/support/spawn.ts';
import { openAuditLog } from '../src/audit/audit-log.ts';
import { verifyAudit } from '../src/audit/verify-audit.ts';
import { keptIn, logPath, never, openLog, openWriter, recordOf, streamRecords } from './support/audit.ts';

/** A log as somebody takes it away: the file alone, without what lies beside it. */
function alone(path: string): string {
  const copy = `${path}.copy`;
  copyFileSync(path, copy);
  return copy;
}

const wrote = streamRecords('a', { texts: ['one', 'two'] });

describe('promise 13: a log that is moved while it is written', () => {
  test('has all that was acknowledged, and the next one says that it was there', async () => {
    const path = logPath();
    const log = await openLog(path);
    await log.write(wrote, never);
    const { head } = log;
    renameSync(path, `${path}.old`);
    await expect(log.write(streamRecords('b'), never)).rejects.toMatchObject({
      code: 'sink_failed',
      message: expect.stringContaining('moved, replaced or removed'),
    });
    const old = alone(`${path}.old`);
    expect(verifyAudit(old, [head])).toMatchObject({ problems: [], records: wrote.length });
    await log.write(streamRecords('b'), never);
    expect(Object.keys(keptIn(path))).toEqual(['b']);
    expect(verifyAudit(path, [log.head])).toMatchObject({ problems: [], before: [head] });
    await log.close();
    expect(verifyAudit(alone(path)).problems).toEqual([]);
  });

  test('is whole within a second, also when nothing is written; the next write says so', async () => {
    const path = logPath();
    const log = await openLog(path);
    await log.write(wrote, never);
    const { head } = log;
    renameSync(path, `${path}.old`);
    await eventually(
      () => verifyAudit(alone(`${path}.old`), [head]).problemCount === 0,
      'the file to have all',
    );
    await expect(log.write(streamRecords('b'), never)).rejects.toMatchObject({ code: 'sink_failed' });
    await log.write(streamRecords('b'), never);
    expect(verifyAudit(path).before).toEqual([head]);
  });

  test('in the middle of a write: that is in the file, and not acknowledged', () => {
    const path = logPath();
    const writer = openWriter(path);
    writer.write(wrote);
    const move = (): unknown => writer.change(() => renameSync(path, `${path}.old`));
    expect(move).toThrow('was moved, replaced');
    const old = verifyAudit(alone(`${path}.old`));
    expect(old).toMatchObject({ problems: [], records: wrote.length });
    writer.write(streamRecords('b'));
    expect(verifyAudit(path).before).toEqual(old.heads);
  });

  test('by several writers: each goes on in one new log', () => {
    const path = logPath();
    const writers = ['one', 'two', 'three'].map((node) => openWriter(path, node));
    for (const [index, writer] of writers.entries()) writer.write([recordOf(`old${index}`, 0, 'x')]);
    renameSync(path, `${path}.old`);
    for (let round = 0; round < 3; round += 1)
      for (const [index, writer] of writers.entries()) {
        const write = (): unknown => writer.write([recordOf(`new${index}`, round, 'x')]);
        if (round === 0) expect(write).toThrow('was moved, replaced');
        write();
      }
    expect(Object.keys(keptIn(`${path}.old`))).toEqual(['old0', 'old1', 'old2']);
    expect(verifyAudit(`${path}.old`).problems).toEqual([]);
    for (const writer of writers) writer.close();
    const kept = keptIn(path);
    expect(kept).toEqual({ new0: ['x', 'x', 'x'], new1: ['x', 'x', 'x'], new2: ['x', 'x', 'x'] });
    expect(verifyAudit(path).problems).toEqual([]);
  });

  test('and another one put in its place: nothing of one gets into the other', () => {
    const path = logPath();
    const other = openWriter(`${path}.other`);
    other.write(streamRecords('other'));
    other.close();
    const writer = openWriter(path);
    writer.write(wrote);
    renameSync(path, `${path}.old`);
    renameSync(`${path}.other`, path);
    expect(() => writer.write(streamRecords('b'))).toThrow('was moved, replaced');
    writer.write(streamRecords('b'));
    writer.close();
    expect(Object.keys(keptIn(path))).toEqual(['other', 'b']);
    expect(Object.keys(keptIn(alone(`${path}.old`)))).toEqual(['a']);
    expect(['', '.old'].flatMap((end) => verifyAudit(path + end).problems)).toEqual([]);
  });

  test('while somebody reads it: it is let go when it has all, and nothing is acknowledged before', () => {
    const path = logPath();
    const writer = openWriter(path);
    writer.write(wrote);
    const reader = new DatabaseSync(path, { readOnly: true });
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM records').get();
    writer.write(streamRecords('b'));
    renameSync(path, `${path}.old`);
    for (let time = 0; time < 2; time += 1) {
      expect(() => writer.write(streamRecords('c'))).toThrow('was moved, replaced');
      expect(existsSync(path)).toBe(false);
    }
    reader.exec('COMMIT');
    reader.close();
    expect(() => writer.write(streamRecords('c'))).toThrow('was moved, replaced');
    expect(Object.keys(keptIn(alone(`${path}.old`)))).toEqual(['a', 'b']);
    writer.write(streamRecords('c'));
    expect(Object.keys(keptIn(path))).toEqual(['c']);
  });
});

test('a log that is removed is begun anew, and the new one says that there was another', async () => {
  const path = logPath();
  const log = await openLog(path);
  await log.write(wrote, never);
  const { head } = log;
  rmSync(path);
  await expect(log.write(streamRecords('b'), never)).rejects.toMatchObject({ code: 'sink_failed' });
  await log.write(streamRecords('b'), never);
  expect(verifyAudit(path)).toMatchObject({ problems: [], before: [head], streams: 1 });
});

test('a write-ahead log whose log is gone is not thrown away', async () => {
  const path = logPath();
  const writer = openWriter(path);
  writer.write(wrote);
  // As a gateway leaves them that is killed after somebody has moved its log.
  const moved = `${path}.moved`;
  copyFileSync(path, moved);
  const orphan = `${logPath()}-wal`;
  copyFileSync(`${path}-wal`, orphan);
  const name = orphan.slice(0, -'-wal'.length);
  await expect(openAuditLog(name)).rejects.toMatchObject({
    code: 'sink_failed',
    message: expect.stringContaining(`but ${orphan} has`),
  });
  expect(existsSync(name)).toBe(false);
  renameSync(orphan, `${moved}-wal`);
  expect(verifyAudit(moved)).toMatchObject({ problems: [], records: wrote.length });
  await (await openAuditLog(name)).close();
});

/** A log with so many records that its file grows while it is open: the newest are in the write-ahead log. */
function longLog(path: string): ReturnType<typeof openWriter> {
  const first = openWriter(path);
  first.write(streamRecords('old', { texts: Array.from({ length: 200 }, () => 'x'.repeat(500)) }));
  first.close();
  const writer = openWriter(path);
  writer.write(wrote);
  return writer;
}

function shortLog(path: string): ReturnType<typeof openWriter> {
  const writer = openWriter(path);
  writer.write(wrote);
  return writer;
}

describe('promise 13: a log that is cut while it is written', () => {
  const cut = { code: 'sink_failed', message: expect.stringContaining('is damaged: somebody has cut it') };

  test.each([0, 4096, 40_960])(
    'to %i bytes: nothing is acknowledged until it is moved away',
    async (bytes) => {
      const path = logPath();
      longLog(path).close();
      const log = await openLog(path);
      await log.write(streamRecords('b'), never);
      const { head } = log;
      truncateSync(path, bytes);
      for (let time = 0; time < 3; time += 1)
        await expect(log.write(streamRecords('c'), never)).rejects.toMatchObject(cut);
      expect(statSync(path).size).toBe(bytes);
      renameSync(path, `${path}.cut`);
      await expect(log.write(streamRecords('c'), never)).rejects.toMatchObject({ code: 'sink_failed' });
      await log.write(streamRecords('c'), never);
      expect(verifyAudit(path, [log.head])).toMatchObject({ problems: [], before: [head], streams: 1 });
      const saved = readdirSync(dirname(path)).filter((name) => name.startsWith('audit.db-wal.cut-'));
      expect(saved).toHaveLength(1);
      expect(statSync(join(dirname(path), saved[0] ?? '')).size).toBeGreaterThan(0);
    },
  );

  test('while nothing is written: what watches it sees it, and the next write says so', () => {
    const path = logPath();
    const writer = openWriter(path);
    writer.write(wrote);
    const whole = readFileSync(path);
    truncateSync(path, 0);
    writer.watch();
    // Only what was seen before fails this write.
    writeFileSync(path, whole);
    expect(() => writer.write(streamRecords('b'))).toThrow('somebody has cut it');
  });

  // SQLite itself sees a cut of more than 64 KiB when it moves pages into the file, and not a smaller one.
  test.each([
    [0, longLog],
    [40_960, longLog],
    [0, shortLog],
  ])('to %i bytes: the next start says so, and what is left stays', async (bytes, logAt) => {
    const path = logPath();
    const writer = logAt(path);
    truncateSync(path, bytes);
    expect(() => writer.write(streamRecords('b'))).toThrow('somebody has cut it');
    const wal = statSync(`${path}-wal`).size;
    writer.close();
    for (let start = 0; start < 2; start += 1)
      await expect(openAuditLog(path)).rejects.toMatchObject({
        code: 'sink_failed',
        message: expect.stringContaining('somebody has cut'),
      });
    expect([statSync(path).size, statSync(`${path}-wal`).size]).toEqual([bytes, wal]);
    expect(existsSync(`${path}-wal.copy`)).toBe(false);
  });

  test('after a crash while pages were moved into it, it is no such log', () => {
    const path = logPath();
    const writer = longLog(path);
    writer.write(streamRecords('b', { texts: Array.from({ length: 50 }, () => 'x'.repeat(500)) }));
    const crashed = logPath();
    copyFileSync(path, crashed);
    copyFileSync(`${path}-wal`, `${crashed}-wal`);
    // The first page is moved first: it says how many there will be.
    const before = statSync(path).size;
    writer.close();
    const whole = statSync(path).size;
    expect(whole).toBeGreaterThan(before);
    copyFileSync(path, `${crashed}.whole`);
    truncateSync(`${crashed}.whole`, before);
    renameSync(`${crashed}.whole`, crashed);
    const next = openWriter(crashed);
    next.write(streamRecords('c'));
    next.close();
    expect(verifyAudit(crashed).problems).toEqual([]);
    expect(Object.keys(keptIn(crashed))).toEqual(['old', 'a', 'b', 'c']);
  });
});

test('an empty file that is there becomes a log for its owner alone', () => {
  const path = logPath();
  writeFileSync(path, '');
  chmodSync(path, 0o644);
  openWriter(path).write(wrote);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});
