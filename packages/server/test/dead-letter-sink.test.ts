import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SinkRecord } from '@spillway/core';
import { type SinkEngine, sinkRules } from '@spillway/core/testing';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { MemoryEngine } from '../../core/test/support/memory-engine.ts';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';
import {
  type DeadLetters,
  type DeadLetterSinkOptions,
  openDeadLetterSink,
} from '../src/tap/sinks/dead-letter-sink.ts';
import { quickClock } from './support/quick-clock.ts';

const never = new AbortController().signal;
let path: string;

beforeEach(() => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-dead-letters-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  path = join(folder, 'letters.jsonl');
});

const record = (seq: number, value: string | Uint8Array = `value ${seq}`): SinkRecord => ({
  stream: 's',
  seq,
  value: typeof value === 'string' ? Buffer.from(value) : value,
});

/** An engine that refuses these records, behind a sink with dead letters, and what that says of them. */
function refusing(refused: readonly SinkRecord[], options: Partial<DeadLetterSinkOptions> = {}) {
  const engine = new MemoryEngine();
  for (const each of refused) engine.refuse(each);
  const told: DeadLetters[] = [];
  const onRefused = (found: DeadLetters): void => void told.push(found);
  const sink = openDeadLetterSink(engine.open(), {
    path,
    whenFull: 'fail',
    clock: { dateMs: () => 5000 },
    onRefused,
    ...options,
  });
  return { engine, sink, told, open: engine.openCount.bind(engine) };
}

function letters(): unknown[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line): unknown => JSON.parse(line));
}

/** The rules of a sink hold with it, but for the tenth, which it is there to keep from others. */
function engineWithLetters(): SinkEngine {
  const engine = new MemoryEngine();
  return {
    open: () => openDeadLetterSink(engine.open(), { path, whenFull: 'fail', clock: quickClock }),
    records: () => engine.records(),
    fail: () => engine.fail(),
    hang: () => engine.hang(),
    heal: () => engine.heal(),
    openCount: () => engine.openCount(),
  };
}

for (const { check, name, number } of sinkRules(engineWithLetters))
  test(`sink rule ${number}, with dead letters: ${name}`, check);

test('a sink with dead letters takes no record with an id that comes back as something else', async () => {
  await expectOddRefused(engineWithLetters());
});

describe('dead letters', () => {
  test('promise 15: what an engine refuses is in the file when the write resolves, and the others in the engine', async () => {
    const bytes = Uint8Array.of(0xff, 0, 0x80);
    const [one, two, other] = [record(1, 'a "line"\n\0'), record(2, bytes), record(3)];
    const { engine, sink, told } = refusing([one, two]);
    await sink.write([record(0), one, two, other], never);
    expect(letters()).toEqual([
      { stream: 's', seq: 1, at: 5000, reason: 'it was told to', value: 'a "line"\n\0' },
      {
        stream: 's',
        seq: 2,
        at: 5000,
        reason: 'it was told to',
        base64: Buffer.from(bytes).toString('base64'),
      },
    ]);
    expect(engine.records().map(({ seq }) => seq)).toEqual([0, 3]);
    expect(told).toMatchObject([{ areKept: true, refused: [{ record: one }, { record: two }] }]);
    expect(sink).toMatchObject({ letters: 2, lostRecords: 0, letterBytes: statSync(path).size });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await sink.close();
  });

  test('no file is made before there is a letter, and one that is there goes on', async () => {
    const { sink } = refusing([record(2)]);
    await sink.write([record(1)], never);
    expect(() => statSync(path)).toThrow('ENOENT');
    writeFileSync(path, '{"is":"there"}\n');
    await sink.write([record(2)], never);
    expect(letters()).toMatchObject([{ is: 'there' }, { seq: 2 }]);
  });

  test('promise 15: full, it takes all or nothing: a write fails until there is room, and then nothing is there twice', async () => {
    const refused = [record(1, 'x'.repeat(100)), record(2, 'x'.repeat(100))];
    const { sink, told } = refusing(refused, { maxBytes: 300 });
    await expect(sink.write(refused, never)).rejects.toMatchObject({
      code: 'sink_failed',
      message: expect.stringContaining('full') as string,
    });
    expect(sink.problem).toContain('Move it away');
    expect(statSync(path).size).toBe(0);
    expect(told).toEqual([]);
    await sink.write(refused.slice(0, 1), never);
    expect(sink.problem).toBeUndefined();
    expect(letters()).toHaveLength(1);
    expect(statSync(path).size).toBeLessThanOrEqual(300);
    rmSync(path);
    await sink.write(refused.slice(1), never);
    expect(letters()).toMatchObject([{ seq: 2 }]);
  });

  test('full, a sink that may lose goes on, and counts what is lost', async () => {
    const { sink, told } = refusing([record(1)], { maxBytes: 10, whenFull: 'drop' });
    await sink.write([record(0), record(1)], never);
    expect(sink).toMatchObject({ letters: 0, lostRecords: 1 });
    expect(told).toMatchObject([{ areKept: false, refused: [{ record: { seq: 1 } }] }]);
  });

  test.each(['/nowhere/letters.jsonl', '/dev/full'])(
    'a disk that fails fails as an engine does: %s',
    async (bad) => {
      const { sink } = refusing([record(1)], { path: bad });
      await expect(sink.write([record(1)], never)).rejects.toMatchObject({ code: 'sink_failed' });
      const { sink: losing } = refusing([record(1)], { path: bad, whenFull: 'drop' });
      await losing.write([record(1)], never);
      expect(losing.lostRecords).toBe(1);
    },
  );

  test('promise 15: a write that was given up leaves no letter: whoever makes it again gets it', async () => {
    const { engine, sink } = refusing([record(1)]);
    const abort = new AbortController();
    engine.hang();
    const write = sink.write([record(1)], abort.signal);
    abort.abort(new Error('late'));
    await expect(write).rejects.toThrow('late');
    expect(() => statSync(path)).toThrow('ENOENT');
    engine.heal();
    await sink.write([record(1)], never);
    expect(letters()).toHaveLength(1);
  });

  test('is closed with its engine', async () => {
    const { open, sink } = refusing([]);
    await sink.close();
    expect(open()).toBe(0);
    await expect(sink.write([record(1)], never)).rejects.toMatchObject({ code: 'sink_closed' });
  });
});
