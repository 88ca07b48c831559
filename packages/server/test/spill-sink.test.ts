import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RecordSink, SinkRecord } from '@spillway/core';
import { SpillwayError } from '@spillway/core';
import { type SinkEngine, sinkRules } from '@spillway/core/testing';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { smallDisk } from '../../gateway/test/support/small-disk.ts';
import { MemoryEngine } from '../../core/test/support/memory-engine.ts';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';
import { type Command, eventually, spawnNode } from '../../gateway/test/support/spawn.ts';
import type { SpillDamage } from '../src/tap/sinks/spill-queue.ts';
import { openSpillSink, type SpillSink, type SpillSinkOptions } from '../src/tap/sinks/spill-sink.ts';
import { FailingDisk } from './support/failing-disk.ts';
import { filesIn, lineRecord, openFilesIn, recordsIn } from './support/lines.ts';
import { quickClock } from './support/quick-clock.ts';

const never = new AbortController().signal;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spillway-spill-sink-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
});

/** An engine with a spill. It fails when the disk does, too: a spill is there so that one of both is enough. */
async function spilledEngine(): Promise<SinkEngine> {
  const disk = await FailingDisk.install();
  const engine = new MemoryEngine();
  let sink: SpillSink | undefined;
  const both = (verb: 'fail' | 'hang' | 'heal') => (): void => {
    disk[verb]();
    engine[verb]();
  };
  return {
    async open() {
      await sink?.close();
      sink = await openSpillSink(engine.open(), { path: folder, engineTimeoutMs: 1000, clock: quickClock });
      return sink;
    },
    async records() {
      // Whoever reads the engine finds what was spilled when it is there.
      await eventually(() => sink?.spilledRecords === 0, 'the spill to be written to the engine');
      return engine.records();
    },
    fail: both('fail'),
    hang: both('hang'),
    heal: both('heal'),
    openCount: () => engine.openCount() + openFilesIn(folder).length,
  };
}

for (const { number, name, check } of sinkRules(spilledEngine)) {
  test(`spill, sink rule ${number}: ${name}`, check);
}

test('a spill takes no record with an id that comes back as something else', async () => {
  await expectOddRefused(await spilledEngine());
});

/** An engine whose mood a test sets, and what it was given. */
class MoodyEngine implements RecordSink {
  readonly durability = 'replicated';
  mood: 'failing' | 'refusing' | 'silent' | 'well' = 'well';
  /** The batches that it has taken. */
  readonly batches: (readonly SinkRecord[])[] = [];
  tries = 0;
  isClosed = false;

  async write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    this.tries += 1;
    signal.throwIfAborted();
    if (this.mood === 'silent') {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    }
    if (this.mood === 'failing') throw new Error('down');
    if (this.mood === 'refusing' && records.some(({ seq }) => seq === 1))
      throw new SpillwayError('invalid_option', 'this one never');
    // What it is given may be a part of something larger.
    this.batches.push(records.map((record) => ({ ...record, value: Buffer.from(record.value) })));
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  get seqs(): number[] {
    return this.batches.flat().map(({ seq }) => seq);
  }
}

async function open(engine: RecordSink, options: Partial<SpillSinkOptions> = {}): Promise<SpillSink> {
  const sink = await openSpillSink(engine, { path: folder, clock: quickClock, ...options });
  onTestFinished(() => sink.close());
  return sink;
}

const segments = (): string[] => readdirSync(folder).filter((name) => name.endsWith('.spill'));
const drained = (sink: SpillSink): Promise<unknown> =>
  eventually(() => sink.spilledRecords === 0 && segments().length === 0, 'the spill to be empty');

describe('while the engine takes writes', () => {
  test('they go straight to it, and nothing to the disk', async () => {
    const engine = new MoodyEngine();
    const sink = await open(engine);
    const batch = [lineRecord('a', 0), lineRecord('b', 0)];
    await sink.write(batch, never);
    expect(engine.batches).toEqual([batch]);
    expect(filesIn(folder)).toEqual([]);
    expect([sink.isEngineUp, sink.spilledBytes, sink.spilledRecords]).toEqual([true, 0, 0]);
    expect(sink.durability).toBe('replicated');
    await sink.close();
    expect(engine.isClosed).toBe(true);
  });

  test('what it refuses as invalid is not spilled', async () => {
    const engine = new MoodyEngine();
    engine.mood = 'refusing';
    const sink = await open(engine);
    await expect(sink.write([lineRecord('a', 1)], never)).rejects.toMatchObject({ code: 'invalid_option' });
    expect([sink.isEngineUp, segments()]).toEqual([true, []]);
  });
});

describe('while the engine is away', () => {
  test('records go to the disk, for its owner alone, and to the engine when it is back, in order and before newer ones', async () => {
    const clock = new VirtualClock();
    const engine = new MoodyEngine();
    const path = join(folder, 'new', 'spill');
    const sink = await open(engine, { clock, path });
    engine.mood = 'failing';
    for (let seq = 0; seq < 3; seq += 1) await sink.write([lineRecord('a', seq)], never);
    expect([sink.isEngineUp, sink.spilledRecords, engine.batches]).toEqual([false, 3, []]);
    // The engine was asked once: what follows waits behind the first on the disk.
    expect(engine.tries).toBe(1);
    const [name = ''] = filesIn(path);
    expect([statSync(path).mode & 0o777, statSync(join(path, name)).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(sink.spilledBytes).toBe(statSync(join(path, name)).size);
    engine.mood = 'well';
    // It is up again, but nobody has asked it.
    await sink.write([lineRecord('a', 3)], never);
    expect(engine.tries).toBe(1);
    await clock.advance(1000);
    await eventually(() => sink.spilledRecords === 0, 'the spill to be written');
    await eventually(() => sink.spilledBytes === 0, 'its files to be deleted');
    await sink.write([lineRecord('a', 4)], never);
    expect(engine.seqs).toEqual([0, 1, 2, 3, 4]);
    expect(engine.batches.flat()).toEqual([0, 1, 2, 3, 4].map((seq) => lineRecord('a', seq)));
    expect([sink.isEngineUp, readdirSync(path).filter((file) => file.endsWith('.spill'))]).toEqual([
      true,
      [],
    ]);
  });

  test('it is tried once a second', async () => {
    const clock = new VirtualClock();
    const engine = new MoodyEngine();
    engine.mood = 'failing';
    const sink = await open(engine, { clock });
    await sink.write([lineRecord('a', 0)], never);
    for (let second = 1; second <= 20; second += 1) {
      await clock.advance(999);
      expect(engine.tries).toBe(second);
      await clock.advance(1);
      await eventually(() => engine.tries === second + 1, 'the next try');
      // What follows from its failure is a promise and no more.
      await new Promise((resolve) => setTimeout(resolve));
    }
  });

  test('one that is silent counts as away after engineTimeoutMs, and no sooner', async () => {
    const clock = new VirtualClock();
    const engine = new MoodyEngine();
    engine.mood = 'silent';
    const sink = await open(engine, { clock, engineTimeoutMs: 700 });
    let isKept = false;
    const writing = sink.write([lineRecord('a', 0)], never).then(() => (isKept = true));
    await clock.advance(699);
    expect([isKept, sink.isEngineUp, segments()]).toEqual([false, true, []]);
    await clock.advance(1);
    await writing;
    expect([sink.isEngineUp, sink.spilledRecords]).toEqual([false, 1]);
  });

  test('a write that its caller gives up goes nowhere', async () => {
    const engine = new MoodyEngine();
    engine.mood = 'silent';
    const sink = await open(engine, { clock: new VirtualClock() });
    const controller = new AbortController();
    const writing = sink.write([lineRecord('a', 0)], controller.signal);
    const reason = new Error('no more');
    controller.abort(reason);
    await expect(writing).rejects.toBe(reason);
    await sink.close();
    expect(segments()).toEqual([]);
  });

  test('a large batch that the engine cannot take in time is tried in smaller ones', async () => {
    const engine = new MoodyEngine();
    engine.mood = 'failing';
    const sink = await open(engine);
    await sink.write(
      Array.from({ length: 3000 }, (_, seq) => lineRecord('a', seq)),
      never,
    );
    const write = engine.write.bind(engine);
    engine.write = async (records, signal) => {
      if (records.length > 100) throw new Error('too much');
      await write(records, signal);
    };
    engine.mood = 'well';
    await drained(sink);
    expect(engine.seqs).toEqual(Array.from({ length: 3000 }, (_, seq) => seq));
  });

  test('a record that the engine refuses as invalid keeps no other one, and is counted', async () => {
    const engine = new MoodyEngine();
    engine.mood = 'failing';
    const sink = await open(engine);
    await sink.write(
      [0, 1, 2, 3].map((seq) => lineRecord('a', seq)),
      never,
    );
    engine.mood = 'refusing';
    await drained(sink);
    expect([engine.seqs, sink.lostRecords]).toEqual([[0, 2, 3], 1]);
  });

  test('beyond maxBytes a write rejects, and nothing is lost', async () => {
    const engine = new MoodyEngine();
    engine.mood = 'failing';
    const sink = await open(engine, { maxBytes: 20_000 });
    let kept = 0;
    const write = (): Promise<void> => sink.write([lineRecord('a', kept, 'x'.repeat(200))], never);
    const bytesOnDisk = (): number =>
      segments().reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    for (;;) {
      try {
        await write();
      } catch (error) {
        expect(error).toMatchObject({
          code: 'sink_failed',
          message: expect.stringMatching(/is full.*20000/),
        });
        break;
      }
      kept += 1;
      expect(sink.spilledBytes).toBeLessThanOrEqual(20_000);
      expect(sink.spilledBytes).toBe(bytesOnDisk());
    }
    expect(kept).toBeGreaterThan(60);
    expect(segments().length).toBeGreaterThan(4);
    engine.mood = 'well';
    await drained(sink);
    await write();
    expect(engine.seqs).toEqual(Array.from({ length: kept + 1 }, (_, seq) => seq));
  });

  test('a disk that fails while the engine does rejects the write, which is written again', async () => {
    const disk = await FailingDisk.install();
    const engine = new MoodyEngine();
    engine.mood = 'failing';
    const sink = await open(engine);
    await sink.write([lineRecord('a', 0)], never);
    disk.fail();
    for (let turn = 0; turn < 4; turn += 1) {
      await expect(sink.write([lineRecord('a', 1)], never)).rejects.toMatchObject({ code: 'sink_failed' });
    }
    disk.heal();
    await sink.write([lineRecord('a', 1)], never);
    engine.mood = 'well';
    await drained(sink);
    expect(engine.seqs).toEqual([0, 1]);
  });
});

/** Leaves records on the disk, each in a write of its own. */
async function spill(records: readonly SinkRecord[]): Promise<void> {
  const engine = new MoodyEngine();
  engine.mood = 'failing';
  // Its time stands still: a try of the engine meanwhile would begin another segment.
  const sink = await open(engine, { clock: new VirtualClock() });
  for (const record of records) await sink.write([record], never);
  await sink.close();
}

/** Opens the sink anew, with an engine that takes everything, until nothing is spilled. */
async function recover(): Promise<{ engine: MoodyEngine; sink: SpillSink; damages: SpillDamage[] }> {
  const engine = new MoodyEngine();
  const damages: SpillDamage[] = [];
  const sink = await open(engine, { onDamage: (damage) => damages.push(damage) });
  await drained(sink);
  return { engine, sink, damages };
}

describe('after a restart', () => {
  test('what is on the disk comes first', async () => {
    await spill([lineRecord('a', 0), lineRecord('a', 1)]);
    const engine = new MoodyEngine();
    const sink = await open(engine);
    expect(sink.spilledRecords).toBe(2);
    await sink.write([lineRecord('a', 2)], never);
    await drained(sink);
    expect(engine.seqs).toEqual([0, 1, 2]);
    await sink.close();
    // A second one finds nothing.
    expect((await recover()).engine.batches).toEqual([]);
  });

  test('what was taken of a segment is not taken again', async () => {
    await spill(Array.from({ length: 2500 }, (_, seq) => lineRecord('a', seq)));
    const first = new MoodyEngine();
    const write = first.write.bind(first);
    first.write = async (records, signal) => {
      if (first.batches.length === 2) throw new Error('down');
      await write(records, signal);
    };
    const sink = await open(first);
    await eventually(() => !sink.isEngineUp, 'the engine to fail');
    expect(first.seqs.length).toBeGreaterThanOrEqual(1000);
    expect(sink.spilledRecords).toBe(2500 - first.seqs.length);
    await sink.close();
    const { engine } = await recover();
    expect([...first.seqs, ...engine.seqs]).toEqual(Array.from({ length: 2500 }, (_, seq) => seq));
  });

  test('a note of what was taken that says nothing, or something of another segment, does not hide anything', async () => {
    for (const note of ['', '1 ', '1 30', 'what', '1 30\n', '7 30\n', '0 30\n']) {
      writeFileSync(join(folder, 'taken'), note);
      await spill([lineRecord('a', 0), lineRecord('a', 1)]);
      const { engine, damages, sink } = await recover();
      await sink.close();
      expect([note, engine.seqs, damages]).toEqual([note, [0, 1], []]);
    }
  });

  test('a last write that is cut at any byte is left out, and what is written next is there', async () => {
    await spill([lineRecord('a', 0), lineRecord('a', 1)]);
    const path = join(folder, segments()[0] ?? '');
    const two = readFileSync(path);
    const one = two.length / 2;
    for (let size = one; size < two.length; size += 1) {
      rmSync(folder, { recursive: true });
      mkdirSync(folder);
      writeFileSync(path, two.subarray(0, size));
      const engine = new MoodyEngine();
      engine.mood = 'failing';
      const sink = await open(engine, { onDamage: () => expect.unreachable() });
      expect(sink.spilledRecords).toBe(1);
      await sink.write([lineRecord('a', 1)], never);
      engine.mood = 'well';
      await drained(sink);
      expect(engine.seqs).toEqual([0, 1]);
      expect(sink.lostRecords).toBe(0);
      await sink.close();
    }
  });

  test('pages that were never written are no damage', async () => {
    await spill([lineRecord('a', 0)]);
    appendFileSync(join(folder, segments()[0] ?? ''), Buffer.alloc(5000));
    const { engine, damages } = await recover();
    expect([engine.seqs, damages]).toEqual([[0], []]);
  });
});

describe('a damaged spill', () => {
  const count = 6;

  test('at any byte, loses what is there and nothing else, and says so', async () => {
    await spill(Array.from({ length: count }, (_, seq) => lineRecord('a', seq)));
    const [name = ''] = segments();
    const content = readFileSync(join(folder, name));
    const frameBytes = content.length / count;
    for (let at = 0; at < content.length; at += 1) {
      rmSync(folder, { recursive: true });
      mkdirSync(folder);
      const broken = Buffer.from(content);
      broken[at] = (broken[at] ?? 0) ^ 0x40;
      writeFileSync(join(folder, name), broken);
      const { engine, damages, sink } = await recover();
      await sink.close();
      const lost = Math.floor(at / frameBytes);
      expect(engine.seqs).toEqual(
        Array.from({ length: count }, (_, seq) => seq).filter((seq) => seq !== lost),
      );
      // A last write whose length says that it was longer looks like one that was cut.
      const looksCut = lost === count - 1 && damages.length === 0;
      if (looksCut) continue;
      expect(damages).toEqual([
        // What was lost at either end has no neighbour that tells.
        { path: join(folder, name), bytes: frameBytes, records: lost === 0 || lost === count - 1 ? 0 : 1 },
      ]);
      expect(sink.lostRecords).toBe(damages[0]?.records);
      expect(readFileSync(join(folder, name.replace('spill', 'damaged')))).toEqual(broken);
      expect(sink.spilledBytes).toBe(content.length);
    }
  });

  test('with a segment that is not there any more, says how many records it had', async () => {
    const engine = new MoodyEngine();
    engine.mood = 'failing';
    const first = await open(engine, { maxBytes: 8000 });
    for (let seq = 0; seq < 60; seq += 1) await first.write([lineRecord('a', seq)], never);
    await first.close();
    const names = segments();
    expect(names.length).toBeGreaterThan(3);
    rmSync(join(folder, names[1] ?? ''));
    const { engine: second, damages, sink } = await recover();
    expect(second.seqs.length + sink.lostRecords).toBe(60);
    expect(second.seqs).toEqual([...second.seqs].toSorted((one, other) => one - other));
    expect(damages).toEqual([{ path: join(folder, names[2] ?? ''), bytes: 0, records: sink.lostRecords }]);
  });

  test('with a segment that cannot be read, goes on with the next one after three tries', async () => {
    await spill([lineRecord('a', 0)]);
    await spill([lineRecord('a', 1)]);
    await spill([lineRecord('a', 2)]);
    const [, unreadable = ''] = segments();
    rmSync(join(folder, unreadable));
    mkdirSync(join(folder, unreadable));
    const { engine, damages } = await recover();
    expect(engine.seqs).toEqual([0, 2]);
    expect(damages.map(({ records }) => records)).toEqual([0, 1]);
    expect(readdirSync(folder)).toContain(unreadable.replace('spill', 'damaged'));
  });

  test('of bytes that are none is set aside, and the spill works', async () => {
    writeFileSync(join(folder, '000000000004.spill'), 'what is this '.repeat(1000));
    const { engine, damages, sink } = await recover();
    expect(damages).toMatchObject([{ bytes: 13_000, records: 0 }]);
    engine.mood = 'failing';
    await sink.write([lineRecord('a', 0)], never);
    expect(segments()).toEqual(['000000000005.spill']);
    engine.mood = 'well';
    await drained(sink);
    expect(engine.seqs).toEqual([0]);
  });
});

test('an engine that fails, falls silent and comes back at random moments has each record once and in order', async () => {
  const randomness = new VirtualClock({ seed: 4 });
  const engine = new MemoryEngine();
  const sink = await open(engine.open(), { engineTimeoutMs: 1000 });
  const verbs = ['fail', 'heal', 'hang', 'heal'] as const;
  for (let seq = 0; seq < 1500;) {
    if (randomness.random() < 0.1) engine[verbs[Math.floor(randomness.random() * 4)] ?? 'heal']();
    const length = 1 + Math.floor(randomness.random() * 30);
    await sink.write(
      Array.from({ length }, (_, index) => lineRecord('a', seq + index)),
      never,
    );
    seq += length;
  }
  engine.heal();
  await drained(sink);
  const seqs = engine.records().map(({ seq }) => seq);
  expect(seqs.length).toBeGreaterThanOrEqual(1500);
  expect(seqs).toEqual(seqs.map((_, index) => index));
});

test('a spill has one writer, and the engine of another is closed', async () => {
  const sink = await open(new MoodyEngine());
  const other = new MoodyEngine();
  await expect(open(other)).rejects.toMatchObject({
    code: 'sink_failed',
    message: expect.stringMatching(/in use/),
  });
  expect(other.isClosed).toBe(true);
  await sink.close();
  await open(new MoodyEngine());
});

test('a folder that cannot be used, and bounds that are none, are errors', async () => {
  writeFileSync(join(folder, 'file'), '');
  await expect(open(new MoodyEngine(), { path: join(folder, 'file') })).rejects.toMatchObject({
    code: 'sink_failed',
  });
  for (const options of [{ maxBytes: 0 }, { engineTimeoutMs: Number.NaN }]) {
    await expect(open(new MoodyEngine(), options)).rejects.toMatchObject({ code: 'invalid_option' });
  }
});

/** Starts a program that writes records `from`, `from` + 1, … to a file through a spill, and prints what is acknowledged. */
function startWriter(
  from: number,
  options: { readonly mode: 'drain' | 'fill' | 'write'; readonly prefix?: readonly string[] },
): Command {
  const program = fileURLToPath(new URL('support/spill-writer.ts', import.meta.url));
  const { mode, prefix = [] } = options;
  const command = spawnNode(program, [folder, String(from), mode], { prefix });
  onTestFinished(() => void command.process.kill('SIGKILL'));
  return command;
}

const acknowledged = (command: Command): number => Number(/(\d+)\n$/.exec(command.stdout())?.[1] ?? -1);

test('killed twenty times while it spills and drains, each acknowledged record is there once, in order', async () => {
  const randomness = new VirtualClock({ seed: 6 });
  let next = 0;
  let drainsSeen = 0;
  for (let kill = 0; kill < 20; kill += 1) {
    const writer = startWriter(next, { mode: 'write' });
    await eventually(() => acknowledged(writer) >= next + 20, 'records to be acknowledged');
    await new Promise((resolve) => setTimeout(resolve, randomness.random() * 150));
    writer.process.kill('SIGKILL');
    await writer.exited;
    expect(writer.stderr()).toBe('');
    next = Math.max(next, acknowledged(writer) + 1);
    if (readdirSync(join(folder, 'spill')).includes('taken')) drainsSeen += 1;
  }
  const last = startWriter(next, { mode: 'drain' });
  expect(await last.exited).toBe(0);
  const seqs = recordsIn(folder).map(({ seq }) => seq);
  expect(seqs).toEqual(seqs.map((_, index) => index));
  expect(seqs.length).toBeGreaterThanOrEqual(next);
  expect(drainsSeen).toBeGreaterThan(5);
});

test('a full disk: what fits is kept, the rest rejects and is written when there is room', async (context) => {
  const writer = startWriter(0, { mode: 'fill', prefix: smallDisk(context, folder, '256k') });
  const exitCode = await writer.exited;
  expect([exitCode, writer.stderr()]).toEqual([0, '']);
  const [, full] = /full at (\d+)\n/.exec(writer.stdout()) ?? [];
  expect(Number(full)).toBeGreaterThan(100);
  expect(writer.stdout()).toContain(`engine has ${Number(full) + 5} of ${Number(full) + 5}\n`);
});
