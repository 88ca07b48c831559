import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RecordSink } from '@spillway/core';
import { type SinkEngine, sinkRules } from '@spillway/core/testing';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { nodeClock } from '../src/time/node-clock.ts';
import { type FileLoss, type FileSinkOptions, openFileSink } from '../src/tap/sinks/file-sink.ts';
import { FailingDisk } from './support/failing-disk.ts';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';
import { filesIn, lineRecord, lineValue, openFilesIn, recordsIn } from './support/lines.ts';

const never = new AbortController().signal;
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spillway-file-sink-'));
  path = join(folder, 'audit.jsonl');
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
});

/** An engine of files; only one sink at a time has them. */
async function fileEngine(options: Partial<FileSinkOptions>): Promise<SinkEngine> {
  const disk = await FailingDisk.install();
  let sink: RecordSink | undefined;
  return {
    async open() {
      await sink?.close();
      sink = await openFileSink(path, { clock: nodeClock, ...options });
      return sink;
    },
    records: () => recordsIn(folder),
    value: lineValue,
    fail: () => disk.fail(),
    hang: () => disk.hang(),
    heal: () => disk.heal(),
    openCount: () => openFilesIn(folder).length,
  };
}

for (const { number, name, check } of sinkRules(() => fileEngine({}))) {
  test(`file, sink rule ${number}: ${name}`, check);
}

test('a file takes no record with an id that comes back as something else', async () => {
  await expectOddRefused(await fileEngine({}));
});

describe('with small files', () => {
  for (const { number, name, check } of sinkRules(() => fileEngine({ maxFileBytes: 3000 }), { seed: 2 })) {
    test(`file, sink rule ${number}: ${name}`, check);
  }
});

async function open(options: Partial<FileSinkOptions> = {}) {
  const sink = await openFileSink(path, { clock: nodeClock, ...options });
  onTestFinished(() => sink.close());
  return sink;
}

test('a record is a line, and the file is for its owner alone', async () => {
  const sink = await open();
  await sink.write([lineRecord('a', 0, 'x\ny'), lineRecord('b', 0)], never);
  expect(readFileSync(path, 'utf8')).toBe(
    '{"v":1,"stream":"a","seq":0,"text":"x\\ny"}\n{"v":1,"stream":"b","seq":0,"text":""}\n',
  );
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(sink.durability).toBe('fsync');
});

test('a value that is no such line is refused, with all of its batch', async () => {
  const sink = await open();
  const refused = [
    Buffer.from('{"v":1,"stream":"a","seq":1,\n"text":""}'),
    Buffer.from('{"v":1,"stream":"a","seq":1,"text":"\0"}'),
    Buffer.from('{"v":1,"stream":"a","seq":2}'),
    Buffer.from('{"v":1,"stream":"b","seq":1}'),
    Buffer.from('{"seq":1,"stream":"a"}'),
    Buffer.from(''),
  ];
  for (const value of refused) {
    const writing = sink.write([lineRecord('a', 0), { stream: 'a', seq: 1, value }], never);
    await expect(writing).rejects.toMatchObject({ code: 'invalid_option' });
  }
  expect(readFileSync(path, 'utf8')).toBe('');
  await sink.write([lineRecord('a', 0)], never);
  expect(recordsIn(folder)).toEqual([lineRecord('a', 0)]);
});

test('a last record that is cut at any byte is removed, and written again', async () => {
  const first = await open();
  await first.write([lineRecord('a', 0, '🙂'), lineRecord('b', 0, 'x')], never);
  const wholeBytes = statSync(path).size;
  await first.write([lineRecord('a', 1, '🙂"\n')], never);
  await first.close();
  const bytes = readFileSync(path);
  for (let size = wholeBytes; size < bytes.length; size += 1) {
    writeFileSync(path, bytes.subarray(0, size));
    const sink = await open();
    expect(sink.tornBytes).toBe(size - wholeBytes);
    expect(statSync(path).size).toBe(wholeBytes);
    await sink.write([lineRecord('b', 0, 'x'), lineRecord('a', 1, '🙂"\n')], never);
    await sink.close();
    expect(readFileSync(path)).toEqual(bytes);
  }
});

test('a page that was never written ends what is known, whatever lies behind it', async () => {
  const first = await open();
  await first.write([lineRecord('a', 0)], never);
  await first.close();
  const whole = readFileSync(path);
  const later = Buffer.concat([lineValue('a', 2), Buffer.from('\n')]);
  writeFileSync(path, Buffer.concat([whole, Buffer.alloc(5000), later]));
  const sink = await open();
  expect(readFileSync(path)).toEqual(whole);
  await sink.write([lineRecord('a', 1), lineRecord('a', 2)], never);
  expect(recordsIn(folder).map(({ seq }) => seq)).toEqual([0, 1, 2]);
});

test('a line that somebody has changed stays, and what follows it is known', async () => {
  writeFileSync(path, '{"v":1,"stream":"a","seq":0}\nwhat is this\n{"v":1,"stream":"a","seq":1}\n');
  const sink = await open();
  await sink.write([lineRecord('a', 0), lineRecord('a', 1), lineRecord('a', 2)], never);
  expect(readFileSync(path, 'utf8')).toBe(
    '{"v":1,"stream":"a","seq":0}\nwhat is this\n{"v":1,"stream":"a","seq":1}\n{"v":1,"stream":"a","seq":2,"text":""}\n',
  );
});

test('a file larger than what is read at once is known', async () => {
  const first = await open();
  const records = Array.from({ length: 40 }, (_, seq) =>
    lineRecord(`s${seq % 3}`, (seq / 3) | 0, 'x'.repeat(99_000 + seq)),
  );
  await first.write(records, never);
  await first.close();
  const second = await open();
  await second.write(records, never);
  expect(recordsIn(folder)).toHaveLength(40);
});

describe('rotation', () => {
  const clock = new VirtualClock({ startDateMs: Date.UTC(2026, 10, 28, 1, 2, 3, 123) });

  test('by size: a batch begins a new file, and is never torn', async () => {
    const sink = await open({ maxFileBytes: 100, clock });
    await sink.write([lineRecord('a', 0, 'x'.repeat(60))], never);
    const large = [lineRecord('a', 1, 'x'.repeat(300)), lineRecord('a', 2)];
    await sink.write(large, never);
    await sink.write([lineRecord('a', 3)], never);
    expect(filesIn(folder).toSorted()).toEqual([
      'audit-2026-11-28T01-02-03.123Z.jsonl',
      // The same moment: nothing is overwritten.
      'audit-2026-11-28T01-02-03.124Z.jsonl',
      'audit.jsonl',
    ]);
    const sizes = filesIn(folder)
      .toSorted()
      .map((name) => readFileSync(join(folder, name), 'utf8').split('\n').length - 1);
    expect(sizes).toEqual([1, 2, 1]);
    expect(recordsIn(folder).map(({ seq }) => seq)).toEqual([0, 1, 2, 3]);
  });

  test('exactly so many bytes fit', async () => {
    const record = lineRecord('a', 0);
    const maxFileBytes = 2 * (record.value.length + 1);
    const sink = await open({ maxFileBytes, clock });
    for (let seq = 0; seq < 3; seq += 1) await sink.write([lineRecord('a', seq)], never);
    expect(filesIn(folder)).toHaveLength(2);
    expect(statSync(path).size).toBe(record.value.length + 1);
  });

  test('by age, not a millisecond before, and only when there is something to write', async () => {
    const aged = new VirtualClock();
    const sink = await open({ maxAgeMs: 1000, clock: aged });
    await sink.write([lineRecord('a', 0)], never);
    await aged.advance(999);
    await sink.write([lineRecord('a', 1)], never);
    expect(filesIn(folder)).toHaveLength(1);
    await aged.advance(1);
    expect(filesIn(folder)).toHaveLength(1);
    await sink.write([lineRecord('a', 2)], never);
    expect(filesIn(folder)).toHaveLength(2);
    await aged.advance(999);
    await sink.write([lineRecord('a', 3)], never);
    expect(filesIn(folder)).toHaveLength(2);
  });

  test('the age of a file counts from its beginning, also over a restart', async () => {
    const now = { dateMs: () => Date.now() };
    const first = await open({ clock: now });
    await first.write([lineRecord('a', 0)], never);
    await first.close();
    const later = { dateMs: () => Date.now() + 86_400_000 };
    const sink = await open({ clock: later });
    await sink.write([lineRecord('a', 1)], never);
    expect(filesIn(folder)).toHaveLength(2);
  });

  test('the oldest files beyond maxFiles are deleted, and nobody else’s', async () => {
    const others = [
      'audit-2020.jsonl',
      'audit-2020-01-01T00-00-00.000Z.txt',
      'b-2020-01-01T00-00-00.000Z.jsonl',
    ];
    for (const name of others) writeFileSync(join(folder, name), '');
    const sink = await open({ maxFileBytes: 1, maxFiles: 2, clock });
    for (let seq = 0; seq < 6; seq += 1) await sink.write([lineRecord('a', seq)], never);
    const names = filesIn(folder).filter((name) => !others.includes(name));
    expect(names).toHaveLength(3);
    expect(
      names.toSorted().flatMap((name) => readFileSync(join(folder, name), 'utf8').match(/"seq":\d/g) ?? []),
    ).toEqual(['"seq":3', '"seq":4', '"seq":5']);
    expect(filesIn(folder)).toHaveLength(6);
  });

  test('what is in the file before is known after a restart', async () => {
    const first = await open({ maxFileBytes: 1, clock });
    for (let seq = 0; seq < 3; seq += 1)
      await first.write([lineRecord('a', seq), lineRecord('b', seq)], never);
    await first.close();
    // As after a crash between the rename and the new file.
    renameSync(path, join(folder, 'audit-2026-11-28T09-00-00.000Z.jsonl'));
    const sink = await open({ clock });
    await sink.write([lineRecord('a', 1), lineRecord('a', 2), lineRecord('b', 2), lineRecord('b', 3)], never);
    expect(readFileSync(path, 'utf8').match(/"stream":"."/g)).toEqual(['"stream":"b"']);
  });
});

describe('what others do to the file', () => {
  async function openWatched(): Promise<{ sink: RecordSink; losses: readonly FileLoss[] }> {
    const losses: FileLoss[] = [];
    return { losses, sink: await open({ onLoss: (loss) => void losses.push(loss) }) };
  }

  test('after a deletion the next batch makes a new one', async () => {
    const { losses, sink } = await openWatched();
    await sink.write([lineRecord('a', 0)], never);
    const { size } = statSync(path);
    unlinkSync(path);
    await sink.write([lineRecord('a', 0), lineRecord('a', 1)], never);
    expect(recordsIn(folder)).toEqual([lineRecord('a', 1)]);
    expect(losses).toEqual([{ path, what: 'removed', bytes: size }]);
  });

  test('after a rename the next batch makes a new one, and what was moved is known', async () => {
    const { losses, sink } = await openWatched();
    await sink.write([lineRecord('a', 0)], never);
    renameSync(path, join(folder, 'audit.1'));
    await sink.write([lineRecord('a', 0), lineRecord('a', 1)], never);
    expect(recordsIn(folder)).toEqual([lineRecord('a', 1)]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    // All of it is there.
    expect(losses).toEqual([]);
  });

  test('after a cut to nothing it is written on from its beginning', async () => {
    const { losses, sink } = await openWatched();
    await sink.write([lineRecord('a', 0)], never);
    const { size } = statSync(path);
    truncateSync(path, 0);
    await sink.write([lineRecord('a', 1)], never);
    expect(recordsIn(folder)).toEqual([lineRecord('a', 1)]);
    expect(losses).toEqual([{ path, what: 'cut', bytes: size }]);
  });

  test('what was appended stays', async () => {
    const { losses, sink } = await openWatched();
    await sink.write([lineRecord('a', 0)], never);
    appendFileSync(path, '{"v":1,"stream":"b","seq":0}\n');
    await sink.write([lineRecord('b', 0), lineRecord('a', 1)], never);
    expect(recordsIn(folder).map(({ stream, seq }) => [stream, seq])).toEqual([
      ['a', 0],
      ['b', 0],
      ['a', 1],
    ]);
    expect(losses).toEqual([]);
  });
});

test('of a batch that failed nothing stays behind another one', async () => {
  const disk = await FailingDisk.install();
  const sink = await open();
  await sink.write([lineRecord('a', 0)], never);
  disk.fail();
  const long = [lineRecord('b', 0, 'x'.repeat(1000)), lineRecord('b', 1)];
  for (let time = 0; time < 2; time += 1) {
    await expect(sink.write(long, never)).rejects.toMatchObject({
      code: 'sink_failed',
      message: expect.stringMatching(/EIO|ENOSPC/),
    });
  }
  disk.heal();
  await sink.write([lineRecord('a', 1)], never);
  expect(recordsIn(folder)).toEqual([lineRecord('a', 0), lineRecord('a', 1)]);
});

test('a file has one writer', async () => {
  const sink = await open();
  await expect(open()).rejects.toMatchObject({
    code: 'sink_failed',
    message: expect.stringMatching(/in use/),
  });
  await sink.write([lineRecord('a', 0)], never);
  await sink.close();
  const next = await open();
  await next.write([lineRecord('a', 1)], never);
  expect(recordsIn(folder)).toHaveLength(2);
});

test('a device is no file', async () => {
  symlinkSync('/dev/null', join(folder, 'device'));
  await expect(openFileSink(join(folder, 'device'), { clock: nodeClock })).rejects.toMatchObject({
    code: 'invalid_option',
    message: expect.stringMatching(/expected a file/),
  });
});

test.each([
  ['a database', Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(4080, 7)])],
  ['notes', Buffer.from('some notes\nthat somebody has made')],
  ['other JSON', Buffer.from('{"level":30}\n')],
])('another file is refused, and stays as it is: %s', async (_what, bytes) => {
  writeFileSync(path, bytes);
  await expect(openFileSink(path, { clock: nodeClock })).rejects.toMatchObject({
    code: 'invalid_option',
    message: expect.stringContaining('expected lines of records or no file, got another file'),
  });
  expect(readFileSync(path)).toEqual(bytes);
  expect(readdirSync(folder)).toEqual(['audit.jsonl']);
});

test('a pipe and a folder are refused at once, and nothing is left beside them', async () => {
  execFileSync('mkfifo', [path]);
  const opening = openFileSink(path, { clock: nodeClock });
  await expect(opening).rejects.toThrow('expected a file or nothing, got a pipe');
  await expect(openFileSink(folder, { clock: nodeClock })).rejects.toThrow('got a folder');
  expect(readdirSync(folder)).toEqual(['audit.jsonl']);
});

test('a file that cannot be opened is an error that says which', async () => {
  const opening = openFileSink(join(folder, 'no', 'audit.jsonl'), { clock: nodeClock });
  await expect(opening).rejects.toMatchObject({
    code: 'sink_failed',
    message: expect.stringMatching(/no\/audit\.jsonl: expected its folder .* got nothing/),
  });
  for (const options of [{ maxFileBytes: 0 }, { maxAgeMs: Number.NaN }, { maxFiles: 0.5 }]) {
    await expect(open(options)).rejects.toMatchObject({ code: 'invalid_option' });
  }
});
