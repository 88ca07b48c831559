import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { eventually } from '../../gateway/test/support/spawn.ts';
import { within } from '../../core/test/support/within.ts';
import { openAuditLog } from '../src/audit/audit-log.ts';
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

describe('promise 13: what is written is kept, once', () => {
  test('a write that resolved is found by a reader of the file, in order', async () => {
    const path = logPath();
    const log = await openLog(path);
    await log.write([recordOf('a', 0, 'one'), recordOf('b', 0, ''), recordOf('a', 1, 'two')], never);
    await log.write([recordOf('a', 2, 'three')], never);
    expect(keptIn(path)).toEqual({ a: ['one', 'two', 'three'], b: [''] });
  });

  test('values are opaque: any bytes, and views of a larger memory', async () => {
    const path = logPath();
    const log = await openLog(path);
    const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    await log.write(
      [
        recordOf('a', 0, all.subarray(100, 200)),
        recordOf('a', 1, '{"kind":7,"at":"x"}'),
        recordOf('a', 2, 'null'),
      ],
      never,
    );
    expect(all).toHaveLength(256);
    const { a } = keptIn(path);
    expect(a).toEqual([Buffer.from(all.subarray(100, 200)).toString(), '{"kind":7,"at":"x"}', 'null']);
    expect(verifyAudit(path).problems).toEqual([]);
  });

  test('written again it adds nothing, also after a restart and by another process', async () => {
    const path = logPath();
    const first = await openLog(path);
    const records = streamRecords('a');
    await first.write(records.slice(0, 3), never);
    await first.write(records.slice(1), never);
    const { count } = first.head;
    await first.write(records, never);
    expect(first.head.count).toBe(count);
    const second = await openLog(path, { node: 'other' });
    await second.write(records, never);
    await first.close();
    const third = await openLog(path);
    await third.write([...records, recordOf('a', records.length, 'new')], never);
    expect(keptIn(path)['a']).toEqual([...records.map(({ value }) => Buffer.from(value).toString()), 'new']);
    expect(verifyAudit(path).problems).toEqual([]);
  });

  test('the head is of what is on the disk, and the log has it', async () => {
    const path = logPath();
    const log = await openLog(path);
    const opened = log.head;
    expect(opened).toMatchObject({ writer: 1, count: 1 });
    await log.write(streamRecords('a'), never);
    expect(log.head).toMatchObject({ writer: 1, count: 5 });
    expect(verifyAudit(path, [opened, log.head]).problems).toEqual([]);
    expect(verifyAudit(path, [{ ...log.head, count: 6 }]).problems).toEqual([
      expect.objectContaining({ kind: 'head', writer: 1, n: 6 }),
    ]);
  });

  test('no nonce is used twice, in one write or in several', () => {
    const path = logPath();
    const writer = openWriter(path);
    for (let time = 0; time < 3; time += 1)
      writer.write(Array.from({ length: 50 }, (_, seq) => recordOf('a', time * 50 + seq, 'x')));
    const nonces = writer.db
      .prepare('SELECT DISTINCT substr(content, 1, 12) FROM records WHERE seq IS NOT NULL')
      .all();
    expect(nonces).toHaveLength(150);
  });

  test('an empty list resolves', async () => {
    const log = await openLog(logPath());
    await log.write([], never);
    expect(log.head.count).toBe(1);
  });
});

describe('the file', () => {
  test('is for its owner alone, with what is beside it', async () => {
    const path = logPath();
    const log = await openLog(path);
    await log.write([recordOf('a', 0, 'x')], never);
    const modes = ['', '-wal', '-shm'].map((end) => statSync(path + end).mode & 0o777);
    expect(modes).toEqual([0o600, 0o600, 0o600]);
  });

  test('is not taken over when it is something else', async () => {
    const path = logPath();
    writeFileSync(
      path,
      'some text that is no database, and long enough not to be taken for a header of one'.repeat(20),
    );
    await expect(openAuditLog(path)).rejects.toMatchObject({
      code: 'invalid_option',
      message: expect.stringContaining('got a file that is no database'),
    });
    rmSync(path);
    const other = new DatabaseSync(path);
    other.exec('CREATE TABLE mine(x)');
    other.close();
    await expect(openAuditLog(path)).rejects.toMatchObject({ code: 'invalid_option' });
  });

  test('is no folder, no pipe and nothing in memory, and none of them is waited for', async () => {
    const path = logPath();
    mkdirSync(path);
    execFileSync('mkfifo', [`${path}.pipe`]);
    for (const [at, kind] of [
      [path, 'a folder'],
      [`${path}.pipe`, 'a pipe'],
    ] as const)
      await expect(openAuditLog(at)).rejects.toMatchObject({
        code: 'invalid_option',
        message: expect.stringContaining(`expected a file or nothing, got ${kind}`),
      });
    for (const at of [':memory:', 'file:x?mode=memory'])
      await expect(openAuditLog(at)).rejects.toMatchObject({ code: 'invalid_option' });
  });

  test('that another database replaced fails, and refuses no record for good', async () => {
    const path = logPath();
    const log = await openLog(path);
    renameSync(path, `${path}.old`);
    const other = new DatabaseSync(path);
    other.exec('CREATE TABLE mine(x)');
    other.close();
    for (let time = 0; time < 2; time += 1)
      await expect(log.write([recordOf('a', 0, 'x')], never)).rejects.toMatchObject({ code: 'sink_failed' });
    rmSync(path);
    await log.write([recordOf('a', 0, 'x')], never);
    expect(keptIn(path)).toEqual({ a: ['x'] });
  });

  test('whose folder is not there is an error with a code', async () => {
    await expect(openAuditLog(`${logPath()}/none/audit.db`)).rejects.toMatchObject({ code: 'sink_failed' });
  });

  test('that was removed is noticed: nothing is acknowledged that is in no file', async () => {
    const path = logPath();
    const log = await openLog(path);
    await log.write([recordOf('a', 0, 'x')], never);
    renameSync(path, `${path}.old`);
    await expect(log.write([recordOf('a', 1, 'y')], never)).rejects.toMatchObject({ code: 'sink_failed' });
    await log.write([recordOf('a', 1, 'y')], never);
    expect(keptIn(path)).toEqual({ a: ['y'] });
  });

  test('that cannot be written to rejects, and works again when it can', async () => {
    const path = logPath();
    const log = await openLog(path);
    await log.write([recordOf('a', 0, 'x')], never);
    const holder = new DatabaseSync(path);
    holder.exec('BEGIN IMMEDIATE');
    await expect(log.write([recordOf('a', 1, 'y')], never)).rejects.toMatchObject({ code: 'sink_failed' });
    holder.exec('ROLLBACK');
    holder.close();
    await log.write([recordOf('a', 1, 'y')], never);
    expect(keptIn(path)).toEqual({ a: ['x', 'y'] });
    expect(verifyAudit(path).problems).toEqual([]);
  });
});

describe('a write that is aborted', () => {
  test('rejects at once, with the reason, while the log is held; what it did is safe', async () => {
    const path = logPath();
    const log = await openLog(path);
    const holder = new DatabaseSync(path);
    holder.exec('BEGIN IMMEDIATE');
    const controller = new AbortController();
    const writing = log.write([recordOf('a', 0, 'x')], controller.signal);
    controller.abort(new Error('enough'));
    await expect(writing).rejects.toThrow('enough');
    await expect(log.write([recordOf('a', 0, 'x')], controller.signal)).rejects.toThrow('enough');
    holder.exec('ROLLBACK');
    holder.close();
    await log.write([recordOf('a', 0, 'x'), recordOf('a', 1, 'y')], never);
    expect(keptIn(path)).toEqual({ a: ['x', 'y'] });
    expect(verifyAudit(path).problems).toEqual([]);
  });
});

describe('the thread', () => {
  test('that has died rejects what it had, and another one goes on', async () => {
    const path = logPath();
    const posted = vi.spyOn(Worker.prototype, 'postMessage');
    onTestFinished(() => posted.mockRestore());
    const log = await openLog(path);
    const thread = posted.mock.contexts[0] as Worker;
    const holder = new DatabaseSync(path);
    holder.exec('BEGIN IMMEDIATE');
    const writing = log.write([recordOf('a', 0, 'x')], never);
    const rejected = expect(writing).rejects.toMatchObject({ code: 'sink_failed' });
    await thread.terminate();
    await within(rejected, 'the write to be rejected');
    holder.close();
    await log.write([recordOf('a', 0, 'x'), recordOf('a', 1, 'y')], never);
    expect(keptIn(path)).toEqual({ a: ['x', 'y'] });
    expect(verifyAudit(path).problems).toEqual([]);
  });

  test('that hangs is given up after 10 s, and none is started before it has ended', async () => {
    const path = logPath();
    const clock = new VirtualClock();
    const log = await openLog(path, { clock });
    const holder = new DatabaseSync(path);
    holder.exec('BEGIN IMMEDIATE');
    const controller = new AbortController();
    const writing = log.write([recordOf('a', 0, 'x')], controller.signal);
    controller.abort(new Error('enough'));
    await expect(writing).rejects.toThrow('enough');
    await clock.advance(9999);
    const waiting = new AbortController();
    const early = log.write([recordOf('a', 0, 'x')], waiting.signal);
    waiting.abort(new Error('too early'));
    await expect(early).rejects.toThrow('too early');
    await clock.advance(1);
    await expect(log.write([recordOf('a', 0, 'x')], never)).rejects.toThrow(/hangs/);
    holder.close();
    await eventually(
      () =>
        log.write([recordOf('a', 0, 'x')], never).then(
          () => true,
          () => false,
        ),
      'another thread to write',
    );
    expect(keptIn(path)).toEqual({ a: ['x'] });
    expect(verifyAudit(path).problems).toEqual([]);
  });

  test('removes what is too old', async () => {
    const path = logPath();
    const writer = openWriter(path, 'test', new DatedClock());
    writer.write([...streamRecords('old', { atMs: 1000 }), ...streamRecords('new', { atMs: Date.now() })]);
    writer.close();
    await openLog(path, { retain: { maxAgeMs: 3_600_000 } });
    await eventually(() => keptIn(path)['old'] === undefined, 'the old stream to be removed');
    expect(Object.keys(keptIn(path))).toEqual(['new']);
    expect(verifyAudit(path).problems).toEqual([]);
  });
});

test.each([{ retain: { maxAgeMs: 0 } }, { retain: { maxBytes: 1.5 } }])(
  'a wrong option: %j',
  async (options) => {
    await expect(openAuditLog(logPath(), options)).rejects.toMatchObject({ code: 'invalid_option' });
  },
);

describe('closing', () => {
  test('settles the write under way, refuses later ones, and may be done twice', async () => {
    const path = logPath();
    const log = await openLog(path);
    const writing = log.write([recordOf('a', 0, 'x')], never);
    await within(Promise.all([log.close(), log.close()]), 'the log to close');
    await writing;
    await expect(log.write([], never)).rejects.toMatchObject({ code: 'sink_closed' });
    expect(keptIn(path)).toEqual({ a: ['x'] });
  });
});
