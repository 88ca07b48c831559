import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { needs } from '../../core/test/support/needs.ts';
import { inside, smallDisk } from '../../gateway/test/support/small-disk.ts';
import { type Command, eventually, spawnNode, type SpawnOptions } from '../../gateway/test/support/spawn.ts';
import { AuditReader } from '../src/audit/audit-reader.ts';
import { verifyAudit } from '../src/audit/verify-audit.ts';
import { keptIn, logPath, openLog, never, streamRecords } from './support/audit.ts';
import { stopProcess } from '../../core/test/support/stop-process.ts';

const program = fileURLToPath(new URL('support/write-audit-log.ts', import.meta.url));
const shimSource = fileURLToPath(new URL('support/failing-fsync.c', import.meta.url));

function startWriter(args: readonly string[], options?: SpawnOptions): Command {
  const writer = spawnNode(program, args, options);
  onTestFinished(() => void writer.process.kill('SIGKILL'));
  return writer;
}

/** The batches that a writer has said are kept: the number of records of each stream. */
function acknowledged(writers: readonly Command[]): Map<string, number> {
  const text = writers.map(({ stdout }) => stdout()).join('');
  return new Map(
    [...text.matchAll(/^ack (\S+) (\d+)$/gm)].map(([, stream = '', count]) => [stream, Number(count)]),
  );
}

/** Each record that was acknowledged is there, once and in order; others may be. */
function expectKept(path: string, writers: readonly Command[]): void {
  const kept = keptIn(path);
  for (const [stream, count] of acknowledged(writers)) {
    const texts = kept[stream]?.map((value) =>
      (JSON.parse(value) as { text: string }).text.replace(/\.+$/, ''),
    );
    expect(texts).toEqual(Array.from({ length: count }, (_, seq) => `${stream}/${seq}`));
  }
  expect(verifyAudit(path).problems).toEqual([]);
}

const acks = (writer: Command): number => acknowledged([writer]).size;
const fails = (writer: Command): number => writer.stdout().match(/^fail sink_failed$/gm)?.length ?? 0;

test('promise 13: killed at any moment, 30 times: every record that was acknowledged is there, and the log is intact', async () => {
  const path = logPath();
  const writers: Command[] = [];
  for (let round = 0; round < 30; round += 1) {
    const writer = startWriter([path, `w${round}`, String(round % 3 === 0 ? 20_000 : 100)]);
    writers.push(writer);
    if (round % 5 !== 0) await eventually(() => acks(writer) > round % 4, 'the writer to write');
    // Chance is what is asked for, and nothing is expected of it.
    await sleep(Math.random() * 60);
    writer.process.kill('SIGKILL');
    await writer.exited;
    if (round % 6 === 5) expectKept(path, writers);
  }
  expect(acknowledged(writers).size).toBeGreaterThan(50);
  expectKept(path, writers);
});

test('promise 13: two writers at once, one of them killed', async () => {
  const path = logPath();
  // Without a pause, one that is never done may keep the lock from the other for as long as it likes.
  const writers = ['one', 'two'].map((name) => startWriter([path, name, '100', 'Infinity', '20']));
  for (const writer of writers) await eventually(() => acks(writer) > 20, 'both to write');
  writers[0]?.process.kill('SIGKILL');
  const survivor = writers[1];
  if (survivor === undefined) throw new Error('no second writer');
  const before = acks(survivor);
  await eventually(() => acks(survivor) > before + 20, 'the other one to go on');
  survivor.process.kill('SIGKILL');
  await Promise.all(writers.map(({ exited }) => exited));
  expectKept(path, writers);
});

test('promise 13: a full disk rejects, and all goes on when there is room', async (context) => {
  const folder = dirname(logPath());
  const prefix = smallDisk(context, folder, '1m', 300);
  const path = join(folder, 'audit.db');
  const writer = startWriter([path, 'full', '5000'], { prefix });
  await eventually(() => fails(writer) > 3, 'the disk to be full');
  const before = acks(writer);
  const disk = inside(writer, folder);
  rmSync(join(disk, 'filler'));
  await eventually(() => acks(writer) > before + 3, 'the log to go on');
  stopProcess(writer.process.pid);
  // SQLite follows links by their names, which mean other files here.
  for (const end of ['', '-wal']) copyFileSync(join(disk, `audit.db${end}`), `${path}${end}`);
  expectKept(path, [writer]);
});

test('promise 13: an fsync that fails is never taken for one that worked', async (context) => {
  const path = logPath();
  const shim = join(dirname(path), 'shim.so');
  const switchPath = join(dirname(path), 'failing');
  const compiled = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, shimSource, '-ldl']);
  needs(context, compiled.status === 0, 'a C compiler, cc');
  const writer = startWriter([path, 'sync'], { env: { LD_PRELOAD: shim, FAIL_FSYNC: switchPath } });
  for (let round = 0; round < 5; round += 1) {
    const before = acks(writer);
    await eventually(() => acks(writer) > before + 3, 'the log to go on');
    const failed = fails(writer);
    mkdirSync(switchPath);
    await eventually(() => fails(writer) > failed + 2, 'the log to fail');
    const during = acks(writer);
    await eventually(() => fails(writer) > failed + 5, 'the log to fail again');
    expect(acks(writer)).toBe(during);
    rmSync(switchPath, { recursive: true });
  }
  writer.process.kill('SIGKILL');
  await writer.exited;
  expectKept(path, [writer]);
  // Each failure ends a chain: nothing is added to one that may have a hole on the disk.
  expect(verifyAudit(path).heads.length).toBeGreaterThanOrEqual(5);
});

test('a writer that is stopped and goes on has lost nothing, and others read meanwhile', async () => {
  const path = logPath();
  const writer = startWriter([path, 'stop']);
  for (let round = 0; round < 5; round += 1) {
    const before = acks(writer);
    await eventually(() => acks(writer) > before + 5, 'the log to go on');
    stopProcess(writer.process.pid);
    expectKept(path, [writer]);
    writer.process.kill('SIGCONT');
  }
  writer.process.kill('SIGKILL');
  await writer.exited;
  expectKept(path, [writer]);
});

test('a stream without an end is open while its writer lives, and interrupted afterwards', async () => {
  const path = logPath();
  const log = await openLog(path);
  await log.write(streamRecords('mine', { hasEnded: false }), never);
  await log.write(streamRecords('ended'), never);
  const writer = startWriter([path, 'other', '100', '3']);
  await eventually(() => writer.stdout().includes('closed'), 'the other to have closed the log');
  const killed = startWriter([path, 'killed']);
  await eventually(() => acks(killed) > 3, 'the other to write');
  const state = (pattern: RegExp): string | undefined => {
    const reader = new AuditReader(path);
    try {
      return [...reader.streams()].find(({ name }) => pattern.test(name))?.state;
    } finally {
      reader.close();
    }
  };
  expect([/^mine/, /^ended/, /^other/, /^killed/].map(state)).toEqual([
    'open',
    'completed',
    'interrupted',
    'open',
  ]);
  killed.process.kill('SIGKILL');
  await killed.exited;
  expect(state(/^killed/)).toBe('interrupted');
  await log.close();
  expect(state(/^mine/)).toBe('interrupted');
});

test('a file that is full of something else is not read as a log', async () => {
  const path = logPath();
  writeFileSync(path, Buffer.alloc(8192, 1));
  expect(() => verifyAudit(path)).toThrow(/expected an audit log, got a file that is no database/);
});
