import type { SinkRecord } from '../sink-record.ts';
import type { RecordSink } from '../sink/record-sink.ts';
import { checkOf } from './engine-proof.ts';
import type { SinkEngine } from './sink-engine.ts';
import { SinkProof } from './sink-proof.ts';
import type { SkippableTest } from './skippable-test.ts';

/** One rule of {@link RecordSink}, and a check that a sink keeps it. */
export interface SinkRule {
  /** The rule's number in the description of `RecordSink`. */
  readonly number: number;
  /** The rule in a few words, for a test's name. */
  readonly name: string;
  /**
   * Rejects when the sink breaks the rule, with the expected and the actual result. A check that needs what the engine
   * cannot do says so to the test's context (Vitest and `node:test` hand it in), and rejects where there is none: no
   * rule is left out without a word.
   */
  readonly check: (context?: SkippableTest) => Promise<void>;
}

/** How the rules are proved. */
export interface SinkRulesOptions {
  /** The seed of what is random: a whole number from 0 to 2^32 − 1. Errors name it. Default: 1. */
  readonly seed?: number;
  /** The random steps of each check that has them: 1 to 10,000. Default: 50. */
  readonly steps?: number;
  /** How long a write or a close may take before it counts as one that never settles. Default: 10 seconds. */
  readonly deadlineMs?: number;
}

/**
 * The rules that every sink of records has to keep. Run each rule's check in a test of its own.
 *
 * @param openEngine opens an empty engine; called once for each check.
 * @example A sink for an engine of your own is proved with a few lines.
 * ```ts
 * const openEngine = async () => {
 *   const table = await openMyTable();
 *   return {
 *     open: () => openMySink(table),
 *     records: () => table.readAll(), // { stream, seq, value } each
 *     fail: () => table.disconnect(),
 *     heal: () => table.connect(),
 *   };
 * };
 * for (const { number, name, check } of sinkRules(openEngine)) test(`sink rule ${number}: ${name}`, check);
 * ```
 */
export function sinkRules(
  openEngine: () => Promise<SinkEngine> | SinkEngine,
  { seed = 1, steps = 50, deadlineMs = 10_000 }: SinkRulesOptions = {},
): readonly SinkRule[] {
  const rule = (
    number: number,
    name: string,
    prove: (proof: SinkProof) => Promise<void>,
    ...needs: readonly Need[]
  ): SinkRule => ({
    number,
    name,
    check: checkOf(
      openEngine,
      (engine) => new SinkProof(engine, { seed, deadlineMs }),
      (engine) => {
        const missing = needs.find((need) => !can(engine, need));
        return missing && `has no ${missing}`;
      },
      prove,
    ),
  });
  return [
    rule(1, 'what was written is found once, equal and in order', async (proof) => {
      const sink = await proof.open();
      await proof.write(sink, [...proof.take('a', 3), ...proof.take('b', 1), ...proof.take('a', 2)]);
      await proof.expectKept();
      await proof.write(sink, [...proof.take('b', 5), ...proof.take('c-_9', 1)]);
      await proof.expectKept();
    }),
    rule(
      1,
      'a stream with a name of 128 characters, and one that is another one’s beginning',
      async (proof) => {
        const sink = await proof.open();
        const streams = ['x'.repeat(128), 'x'.repeat(127), 'x', 'X', '-', '_', '0', '00'];
        for (const stream of streams) await proof.write(sink, proof.take(stream, 2));
        await proof.expectKept();
      },
    ),
    rule(1, 'two thousand records of one batch', async (proof) => {
      const sink = await proof.open();
      const streams = Array.from({ length: 20 }, (_, index) => `stream-${index}`);
      await proof.write(
        sink,
        Array.from({ length: 100 }, () => streams.flatMap((name) => proof.take(name, 1))).flat(),
      );
      await proof.expectKept();
    }),
    rule(1, 'random batches of many streams', async (proof) => {
      const sink = await proof.open();
      for (let step = 0; step < steps; step += 1) await proof.write(sink, proof.nextBatch());
      await proof.expectKept();
    }),
    rule(
      2,
      'what a rejected write has kept is a part of what it was given, and it is written again',
      async (proof) => {
        const sink = await proof.open();
        await proof.write(sink, proof.take('a', 2));
        const batch = [...proof.take('a', 3), ...proof.take('b', 3)];
        await proof.fail();
        await proof.expectRejection(sink, batch);
        await proof.heal();
        await proof.expectKept(batch);
        await proof.write(sink, batch);
        await proof.expectKept();
      },
      'fail',
    ),
    rule(3, 'records that are kept are written again and add nothing', async (proof) => {
      const sink = await proof.open();
      const first = [...proof.take('a', 3), ...proof.take('b', 2)];
      const second = [...proof.take('a', 2), ...proof.take('c', 1)];
      await proof.write(sink, first);
      await proof.write(sink, first);
      await proof.write(sink, second);
      await proof.write(sink, first);
      await proof.expectKept();
    }),
    rule(3, 'records that are kept come together with new ones', async (proof) => {
      const sink = await proof.open();
      const kept = [...proof.take('a', 3), ...proof.take('b', 2)];
      await proof.write(sink, kept);
      await proof.write(sink, [...kept.slice(1), ...proof.take('a', 2), ...proof.take('b', 1)]);
      await proof.expectKept();
    }),
    rule(
      3,
      'records of an earlier sink are written again and add nothing',
      async (proof) => {
        const sink = await proof.open();
        const kept = [...proof.take('a', 3), ...proof.take('b', 2)];
        await proof.write(sink, kept);
        await proof.settled('close', sink.close());
        const next = await proof.open();
        await proof.expectKept();
        await proof.write(next, [...kept, ...proof.take('a', 1)]);
        // This sink is not closed: the process has ended.
        await proof.write(await proof.open(), [...kept, ...proof.take('b', 1)]);
        await proof.expectKept();
      },
      'memory of earlier sinks',
    ),
    rule(
      3,
      'each record is there once, whatever crashed between a write and its acknowledgement',
      (proof) => writeThroughCrashes(proof, steps),
      'memory of earlier sinks',
    ),
    rule(
      4,
      'a sink that has rejected works again when its engine does',
      async (proof) => {
        const sink = await proof.open();
        for (let round = 0; round < 5; round += 1) {
          const batch = proof.nextBatch();
          await proof.fail();
          await proof.expectRejection(sink, batch);
          await proof.expectRejection(sink, batch);
          await proof.heal();
          await proof.write(sink, batch);
          await proof.write(sink, proof.nextBatch());
        }
        await proof.expectKept();
      },
      'fail',
    ),
    rule(
      4,
      'a write never resolves for what is not kept, whenever the engine fails',
      async (proof) => {
        const sink = await proof.open();
        for (let step = 0; step < steps; step += 1) {
          const batch = proof.nextBatch();
          const writing = proof.tryWrite(sink, batch);
          await proof.turns(5);
          await proof.fail();
          const hasResolved = await writing;
          await proof.heal();
          if (hasResolved) await proof.expectKept();
          else await proof.write(sink, batch);
        }
        await proof.expectKept();
      },
      'fail',
    ),
    rule(5, 'no records are fine', async (proof) => {
      const sink = await proof.open();
      await proof.write(sink, []);
      await proof.expectKept();
      await proof.write(sink, proof.take('a', 1));
      await proof.write(sink, []);
      await proof.expectKept();
    }),
    rule(
      10,
      'a record that the engine refuses for ever is named, and the others are kept',
      async (proof) => {
        const sink = await proof.open();
        await proof.write(sink, proof.take('a', 2));
        const batch = [...proof.take('b', 2), ...proof.take('a', 3), ...proof.take('c', 1)];
        const [, , refused] = batch;
        if (refused === undefined) return;
        await proof.refuse(refused);
        await proof.expectRefused(sink, batch, refused);
        await proof.expectRefused(sink, batch, refused);
        await proof.write(sink, []);
      },
      'refuse',
    ),
    rule(6, 'a write with an aborted signal rejects with its reason', async (proof) => {
      const sink = await proof.open();
      const batch = proof.take('a', 2);
      await proof.expectAborted(sink, batch);
      await proof.write(sink, batch);
      await proof.expectKept();
    }),
    rule(
      6,
      'a write that is aborted at any moment rejects with the reason, or has kept everything',
      async (proof) => {
        const sink = await proof.open();
        for (let step = 0; step < steps; step += 1) {
          const batch = proof.nextBatch();
          if (await proof.abortedWrite(sink, batch)) await proof.expectKept();
          else await proof.write(sink, batch);
        }
        await proof.expectKept();
      },
    ),
    rule(
      6,
      'a write to a silent engine rejects when it is aborted, and is written again',
      async (proof) => {
        const sink = await proof.open();
        for (let round = 0; round < 3; round += 1) {
          const batch = proof.nextBatch();
          await proof.hang();
          await proof.expectAborted(sink, batch, () => proof.turns(5));
          await proof.expectAborted(sink, batch, () => proof.turns(1));
          await proof.heal();
          await proof.write(sink, batch);
        }
        await proof.expectKept();
      },
      'hang',
    ),
    rule(7, 'a close waits for the write under way', async (proof) => {
      const uncertain: SinkRecord[] = [];
      for (let round = 0; round < 10; round += 1) {
        const sink = await proof.open();
        const batch = proof.take(`stream-${round}`, 3);
        let isSettled = false;
        const writing = proof.tryWrite(sink, batch).finally(() => (isSettled = true));
        await proof.turns(round);
        await proof.settled('close', sink.close());
        await proof.told();
        if (!isSettled)
          throw new Error('close: expected the write to be settled by then, got one that waits');
        if (!(await writing)) uncertain.push(...batch);
        await proof.expectKept(uncertain);
      }
    }),
    rule(
      7,
      'a close of a sink whose engine was silent ends when it speaks',
      async (proof) => {
        const sink = await proof.open();
        const batch = proof.take('a', 1);
        let closing: Promise<void> | undefined;
        await proof.hang();
        await proof.expectAborted(sink, batch, async () => {
          closing = sink.close();
          await proof.turns(5);
        });
        await proof.heal();
        if (closing !== undefined) await proof.settled('close', closing);
        await proof.expectKept(batch);
      },
      'hang',
    ),
    rule(
      7,
      'a close releases what the sink has opened',
      async (proof) => {
        await proof.expectNothingOpen();
        const sink = await proof.open();
        await proof.write(sink, proof.take('a', 1));
        await proof.settled('close', sink.close());
        await proof.expectNothingOpen();
      },
      'openCount',
    ),
    rule(8, 'nothing is written after a close', async (proof) => {
      const sink = await proof.open();
      await proof.write(sink, proof.take('a', 1));
      await proof.settled('close', sink.close());
      await proof.expectClosed(sink, [{ stream: 'b', seq: 0, value: proof.valueAt('b', 0) }]);
      await proof.expectKept();
    }),
    rule(9, 'a close can be repeated', async (proof) => {
      const sink = await proof.open();
      await proof.write(sink, proof.take('a', 1));
      await proof.settled('two closes at once', Promise.all([sink.close(), sink.close()]));
      await proof.settled('a close of a closed sink', sink.close());
      const unused = await proof.open();
      await proof.settled('a close of a sink that was never used', unused.close());
      await proof.expectKept();
    }),
  ];
}

type Need = 'fail' | 'hang' | 'memory of earlier sinks' | 'openCount' | 'refuse';

function can(engine: SinkEngine, need: Need): boolean {
  if (need === 'memory of earlier sinks') return engine.remembers ?? true;
  if (need === 'openCount' || need === 'refuse') return engine[need] !== undefined;
  return engine.heal !== undefined && engine[need] !== undefined;
}

/**
 * Writes random batches, each until it is acknowledged, while the sink's process crashes, its writes are aborted, and its
 * engine fails where it can.
 */
async function writeThroughCrashes(proof: SinkProof, steps: number): Promise<void> {
  let sink: RecordSink = await proof.open();
  for (let step = 0; step < steps; step += 1) {
    const batch = proof.nextBatch();
    for (let isKept = false; !isKept;) {
      const moment = proof.random();
      if (moment < 0.2) {
        await proof.abortedWrite(sink, batch);
        sink = await proof.open();
      } else if (moment < 0.4) {
        await proof.tryWrite(sink, batch);
        sink = await proof.open();
      } else if (moment < 0.5) {
        await proof.abortedWrite(sink, batch);
      } else if (moment < 0.6 && proof.canFail) {
        const writing = proof.tryWrite(sink, batch);
        await proof.turns(5);
        await proof.fail();
        await writing;
        await proof.heal();
      } else {
        await proof.write(sink, batch);
        isKept = true;
      }
    }
  }
  await proof.expectKept();
}
