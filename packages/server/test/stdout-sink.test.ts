import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, write } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SinkEngine, sinkRules } from '@spillway/core/testing';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, onTestFinished, test } from 'vitest';
import { type LineOutput, openStdoutSink } from '../src/tap/sinks/stdout-sink.ts';
import { nodeClock } from '../src/time/node-clock.ts';
import { lineRecord, lineValue, recordsIn } from './support/lines.ts';
import { stopProcess } from '../../core/test/support/stop-process.ts';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';

const never = new AbortController().signal;
const clock = nodeClock;

/** An engine of one file behind an output that takes a part of what it gets, and fails or waits when a test says so. */
function outputEngine(): SinkEngine {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-stdout-sink-'));
  const fd = openSync(join(folder, 'out.jsonl'), 'a');
  let mood: 'failing' | 'silent' | 'well' = 'well';
  let waiting: (() => void)[] = [];
  let calls = 0;
  const output: LineOutput = (bytes, done) => {
    const go = (): void => {
      calls += 1;
      const length = calls % 3 === 0 ? Math.ceil(bytes.length / 2) : bytes.length;
      const code = mood === 'failing' ? 'ENOSPC' : calls % 3 === 0 ? 'EAGAIN' : undefined;
      const taken = code === 'ENOSPC' && length === bytes.length ? 0 : length;
      const error = code === undefined ? null : Object.assign(new Error(code), { code });
      write(fd, bytes, 0, taken, null, () => done(error, taken));
    };
    if (mood === 'silent') waiting.push(go);
    else go();
  };
  return {
    remembers: false,
    value: lineValue,
    open: () => openStdoutSink(output, { clock }),
    records: () => recordsIn(folder),
    fail() {
      mood = 'failing';
    },
    hang() {
      mood = 'silent';
    },
    heal() {
      mood = 'well';
      for (const go of waiting) go();
      waiting = [];
    },
    openCount: () => 0,
    remove() {
      closeSync(fd);
      rmSync(folder, { recursive: true });
    },
  };
}

for (const { number, name, check } of sinkRules(outputEngine)) {
  test(`stdout, sink rule ${number}: ${name}`, check);
}

test('the standard output takes no record with an id that comes back as something else', async () => {
  await expectOddRefused(outputEngine());
});

/** A pipe, and what its reader has read. */
function openPipe() {
  const reader = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void reader.kill('SIGKILL'));
  let text = '';
  reader.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  reader.stdin.on('error', () => undefined);
  const output: LineOutput = (bytes, done) =>
    void reader.stdin.write(bytes, (error) => done(error, error ? 0 : bytes.length));
  return { reader, sink: openStdoutSink(output, { clock }), text: () => text };
}

test('a write waits for the reader of a pipe, rejects when it is aborted, and its lines come whole and once', async () => {
  const { reader, sink, text } = openPipe();
  await sink.write([lineRecord('a', 0)], never);
  stopProcess(reader.pid);
  const records = [lineRecord('a', 1, 'x'.repeat(1_000_000)), lineRecord('a', 2)];
  const controller = new AbortController();
  const writing = sink.write(records, controller.signal);
  const reason = new Error('too late');
  controller.abort(reason);
  await expect(writing).rejects.toBe(reason);
  // The next one waits for it, and can be aborted, too.
  const second = new AbortController();
  const again = sink.write(records, second.signal);
  second.abort(reason);
  await expect(again).rejects.toBe(reason);
  reader.kill('SIGCONT');
  await sink.write(records, never);
  await sink.write([lineRecord('b', 0)], never);
  reader.stdin.end();
  await new Promise((resolve) => reader.on('close', resolve));
  expect(text()).toBe(
    [lineRecord('a', 0), ...records, lineRecord('b', 0)]
      .map(({ value }) => `${Buffer.from(value).toString()}\n`)
      .join(''),
  );
});

test('a reader of the pipe that stopped does not keep a close', async () => {
  const { reader, sink } = openPipe();
  stopProcess(reader.pid);
  const controller = new AbortController();
  const writing = sink.write([lineRecord('a', 0, 'x'.repeat(1_000_000))], controller.signal);
  const closing = sink.close();
  controller.abort(new Error('too late'));
  await expect(writing).rejects.toThrow('too late');
  await closing;
});

test('a pipe without a reader is a failed sink', async () => {
  const { reader, sink } = openPipe();
  reader.kill('SIGKILL');
  await new Promise((resolve) => reader.on('close', resolve));
  for (let seq = 0; seq < 2; seq += 1) {
    const writing = sink.write([lineRecord('a', 0)], never);
    await expect(writing).rejects.toMatchObject({
      code: 'sink_failed',
      message: expect.stringMatching(/reads it/),
    });
  }
});

test('a value of two lines is refused', async () => {
  const { sink } = openPipe();
  const writing = sink.write([{ stream: 'a', seq: 0, value: Buffer.from('one\ntwo') }], never);
  await expect(writing).rejects.toMatchObject({ code: 'invalid_option' });
});

test('the streams that were written last are remembered, 10,000 of them', async () => {
  let written = 0;
  const sink = openStdoutSink(
    (bytes, done) => {
      written += bytes.toString().split('\n').length - 1;
      done(null, bytes.length);
    },
    { clock },
  );
  const records = Array.from({ length: 10_001 }, (_, index) => lineRecord(`s${index}`, 0));
  await sink.write(records, never);
  await sink.write(records.slice(1), never);
  expect(written).toBe(10_001);
  await sink.write(records.slice(0, 1), never);
  expect(written).toBe(10_002);
});

test('a terminal that takes nothing is asked again after 20 ms', async () => {
  const virtual = new VirtualClock();
  let calls = 0;
  const sink = openStdoutSink(
    (bytes, done) => {
      calls += 1;
      if (calls === 1) done(Object.assign(new Error('EAGAIN'), { code: 'EAGAIN' }), 5);
      else done(null, bytes.length);
    },
    { clock: virtual },
  );
  let isWritten = false;
  const writing = sink.write([lineRecord('a', 0)], never).then(() => (isWritten = true));
  await virtual.advance(19);
  expect([calls, isWritten]).toEqual([1, false]);
  await virtual.advance(1);
  await writing;
  expect(calls).toBe(2);
});
