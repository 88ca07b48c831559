import { copyFileSync, existsSync, renameSync, rmSync } from 'node:fs';
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
