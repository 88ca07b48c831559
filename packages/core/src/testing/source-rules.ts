import type { SinkRecord } from '../sink-record.ts';
import type { RecordSource, SourceItem } from '../source/record-source.ts';
import { checkOf } from './engine-proof.ts';
import type { SkippableTest } from './skippable-test.ts';
import { readThroughCrashes } from './source-crashes.ts';
import type { SourceEngine } from './source-engine.ts';
import { recordsOf, type SourceCall, SourceProof } from './source-proof.ts';
import { type MakeRule, readingRules, type SourceNeed } from './source-reading-rules.ts';

/** One rule of {@link RecordSource}, and a check that a source keeps it. */
export interface SourceRule {
  /** The rule's number in the description of `RecordSource`. */
  readonly number: number;
  /** The rule in a few words, for a test's name. */
  readonly name: string;
  /**
   * Rejects when the source breaks the rule, with the expected and the actual result. A check that needs what the engine
   * cannot do says so to the test's context (Vitest and `node:test` hand it in), and rejects where there is none: no
   * rule is left out without a word.
   */
  readonly check: (context?: SkippableTest) => Promise<void>;
}

/** How the rules are proved. */
export interface SourceRulesOptions {
  /** The seed of what is random: a whole number from 0 to 2^32 − 1. Errors name it. Default: 1. */
  readonly seed?: number;
  /** The random steps of each check that has them: 1 to 10,000. Default: 100. */
  readonly steps?: number;
  /** How long a call may take before it counts as one that never settles. Default: 10 seconds. */
  readonly deadlineMs?: number;
}

/**
 * The rules that every source of records has to keep. Run each rule's check in a test of its own.
 *
 * @param openEngine opens an empty engine; called once for each check.
 * @example A source for an engine of your own is proved with a few lines.
 * ```ts
 * const rules = sourceRules(async () => {
 *   const queue = await openMyQueue();
 *   return {
 *     open: (name) => openMySource(queue, { name }),
 *     write: (records) => queue.addAll(records), // { stream, seq, value } each
 *     fail: () => queue.disconnect(),
 *     heal: () => queue.connect(),
 *   };
 * });
 * for (const { number, name, check } of rules) test(`source rule ${number}: ${name}`, check);
 * ```
 */
export function sourceRules(
  openEngine: () => Promise<SourceEngine> | SourceEngine,
  { seed = 1, steps = 100, deadlineMs = 10_000 }: SourceRulesOptions = {},
): readonly SourceRule[] {
  const rule: MakeRule<SourceRule> = (number, name, prove, ...needs) => ({
    number,
    name,
    check: checkOf(
      openEngine,
      (engine) => new SourceProof(engine, { seed, deadlineMs }),
      (engine) => {
        const missing = needs.find((need) => !can(engine, need));
        return missing && `has no ${missing}`;
      },
      prove,
    ),
  });
  return [
    ...readingRules(rule, steps),
    rule(4, 'what is acknowledged does not come again, after a close and after a crash', async (proof) => {
      let source = await proof.open();
      for (const isClosed of [true, false]) {
        const written = await proof.write(['a', 4], ['b', 2]);
        const items = await proof.readRecords(source, written.length);
        await proof.acknowledge(source, items.slice(0, 4));
        await proof.acknowledge(source, items.slice(4));
        if (isClosed) await proof.settled('close', source.close());
        source = await proof.open();
      }
      await proof.expectNothingLeft(source);
    }),
    rule(4, 'to acknowledge again is harmless, and so is nothing', async (proof) => {
      const source = await proof.open();
      const written = await proof.write(['a', 4], ['b', 2]);
      const items = await proof.readRecords(source, written.length);
      await proof.acknowledge(source, []);
      await proof.acknowledge(source, items.slice(0, 3));
      await proof.acknowledge(source, items.slice(0, 3));
      await proof.acknowledge(source, items);
      await proof.acknowledge(source, items.slice(1, 2));
      await proof.expectNothingLeft(await proof.open());
    }),
    rule(4, 'nothing is acknowledged that was left out, or that was never given', async (proof) => {
      const source = await proof.open();
      const written = await proof.write(['a', 4], ['b', 2]);
      const items = await proof.readRecords(source, written.length);
      const refuse = (some: readonly SourceItem[]): Promise<void> =>
        proof.expectCode('an acknowledgement', 'invalid_option', (signal) =>
          source.acknowledge(some, signal),
        );
      await refuse(items.slice(1));
      await refuse([{ stream: 'a', seq: 0, value: new Uint8Array() }]);
      proof.expectSame(await proof.readRecords(await proof.open(), written.length), written);
    }),
    rule(5, 'what is not acknowledged comes again, after a close and after a crash', async (proof) => {
      let source = await proof.open();
      let written: readonly SinkRecord[] = await proof.write(['a', 4], ['b', 4]);
      for (const done of [0, 3, 2]) {
        const items = await proof.readRecords(source, written.length);
        proof.expectSame(items, written);
        await proof.acknowledge(source, items.slice(0, done));
        // Which stream comes first is the engine's.
        const left = recordsOf(items.slice(done));
        written = written.filter(({ seq, stream }) =>
          left.some((record) => record.stream === stream && record.seq === seq),
        );
        if (done === 3) await proof.settled('close', source.close());
        source = await proof.open();
      }
      proof.expectSame(await proof.readRecords(source, written.length), written);
    }),
    rule(5, 'sources of other names have places of their own', async (proof) => {
      const [one, other] = [await proof.open('one'), await proof.open('other')];
      const written = await proof.write(['a', 6]);
      await proof.acknowledge(one, await proof.readRecords(one, 6));
      proof.expectSame(await proof.readRecords(other, 6), written);
      proof.expectSame(await proof.readRecords(await proof.open('other'), 6), written);
      await proof.expectNothingLeft(await proof.open('one'));
    }),
    rule(5, 'nothing is lost, and nothing comes again that is done, whatever crashes', (proof) =>
      readThroughCrashes(proof, steps),
    ),
    rule(6, 'the lag is what is kept and not acknowledged', async (proof) => {
      const source = await proof.open();
      const expectLag = async (waiting: readonly SinkRecord[]): Promise<void> => {
        const { bytes, ms, records } = await proof.lag(source);
        const sum = waiting.reduce((all, { value }) => all + value.length, 0);
        if (records !== waiting.length || (bytes !== undefined && bytes !== sum) || !(ms >= 0))
          throw proof.error(
            `lag: expected ${waiting.length} records of ${sum} bytes, got ${records} of ${bytes}, ${ms} ms`,
          );
        if (waiting.length === 0 && ms !== 0) throw proof.error(`lag of nothing: expected 0 ms, got ${ms}`);
      };
      await expectLag([]);
      const written = await proof.write(['a', 4], ['b', 3]);
      await expectLag(written);
      const items = await proof.readRecords(source, 5, { maxItems: 5 });
      await expectLag(written);
      await proof.acknowledge(source, items);
      await expectLag(written.slice(5));
      await proof.expectAge(source);
      await proof.acknowledge(source, await proof.readRecords(source, 2));
      await expectLag([]);
    }),
    rule(
      7,
      'a source works again when its engine does, and has lost nothing',
      async (proof) => {
        const source = await proof.open();
        for (let round = 0; round < 4; round += 1) {
          const written = await proof.write(['a', 3], ['b', 3]);
          const items = await proof.readRecords(source, 3, { maxItems: 3 });
          await proof.engine.fail?.();
          for (const [what, call] of callsOf(source, items))
            await proof.expectCode(what, 'source_failed', call);
          await proof.engine.heal?.();
          items.push(...(await proof.readRecords(source, 3)));
          proof.expectSame(items, written);
          await proof.lag(source);
          await proof.acknowledge(source, items);
        }
        await proof.expectNothingLeft(await proof.open());
      },
      'fail',
    ),
    rule(
      7,
      'a read that waits while its engine fails loses nothing',
      async (proof) => {
        const source = await proof.open();
        for (let round = 0; round < 4; round += 1) {
          const stop = new AbortController();
          const waiting = proof.outcome(
            'a read',
            (signal) => source.read({ maxItems: 7 }, signal),
            stop.signal,
          );
          await proof.maker.turns(5);
          await proof.engine.fail?.();
          await proof.maker.turns(5);
          await proof.engine.heal?.();
          const written = await proof.write(['a', 3]);
          await proof.maker.turns(5);
          stop.abort();
          const items = [...((await waiting).value ?? [])];
          items.push(...(await proof.readRecords(source, written.length - items.length)));
          proof.expectSame(items, written);
        }
      },
      'fail',
    ),
    rule(8, 'calls with an aborted signal reject with its reason', async (proof) => {
      const source = await proof.open();
      const written = await proof.write(['a', 4]);
      const items = await proof.readRecords(source, 2, { maxItems: 2 });
      for (const [what, call] of callsOf(source, items)) await proof.expectAborted(what, call);
      items.push(...(await proof.readRecords(source, 2)));
      proof.expectSame(items, written);
    }),
    rule(8, 'what an aborted read would have given comes with the next one', async (proof) => {
      const source = await proof.open();
      for (let step = 0; step < steps; step += 1) {
        const reading = proof.abort(
          'a read',
          (signal) => source.read({ maxItems: 50 }, signal),
          () => proof.maker.turns(4),
        );
        reading.catch(() => undefined);
        if (step % 2 === 0) await proof.maker.turns(4);
        const written = await proof.writeBatch();
        const items = [...((await reading).value ?? [])];
        items.push(...(await proof.readRecords(source, written.length - items.length)));
        proof.expectSame(items, written);
      }
    }),
    rule(
      8,
      'calls of a silent engine reject when they are aborted, and nothing is lost',
      async (proof) => {
        const source = await proof.open();
        for (let round = 0; round < 3; round += 1) {
          const written = await proof.write(['a', 4]);
          const items = await proof.readRecords(source, 2, { maxItems: 2 });
          await proof.engine.hang?.();
          for (const [what, call] of callsOf(source, items))
            await proof.expectAborted(what, call, () => proof.maker.turns(5));
          await proof.engine.heal?.();
          items.push(...(await proof.readRecords(source, 2)));
          proof.expectSame(items, written);
          await proof.acknowledge(source, items);
        }
      },
      'hang',
    ),
    rule(9, 'a close rejects the read that waits', async (proof) => {
      for (let round = 0; round < 5; round += 1) {
        const source = await proof.open();
        const reading = proof.expectCode('a read that waits', 'source_closed', (signal) =>
          source.read({ maxItems: 1 }, signal),
        );
        reading.catch(() => undefined);
        await proof.maker.turns(round);
        await proof.settled('close', source.close());
        await reading;
      }
    }),
    rule(
      9,
      'a close releases what the source has opened',
      async (proof) => {
        await proof.expectNothingOpen();
        const source = await proof.open();
        await proof.write(['a', 2]);
        await proof.acknowledge(source, await proof.read(source));
        await proof.settled('close', source.close());
        await proof.expectNothingOpen();
      },
      'openCount',
    ),
    rule(10, 'calls after a close reject', async (proof) => {
      const source = await proof.open();
      const written = await proof.write(['a', 4]);
      const items = await proof.readRecords(source, 2, { maxItems: 2 });
      await proof.settled('close', source.close());
      for (const [what, call] of callsOf(source, items)) await proof.expectCode(what, 'source_closed', call);
      proof.expectSame(await proof.readRecords(await proof.open(), 4), written);
    }),
    rule(11, 'a close can be repeated', async (proof) => {
      const source = await proof.open();
      await proof.write(['a', 1]);
      await proof.read(source);
      await proof.settled('two closes at once', Promise.all([source.close(), source.close()]));
      await proof.settled('a close of a closed source', source.close());
      await proof.settled('a close of a source that was never used', (await proof.open()).close());
    }),
  ];
}

/** Each call of a source, with its name. */
function callsOf(
  source: RecordSource,
  items: readonly SourceItem[],
): (readonly [what: string, call: SourceCall<unknown>])[] {
  return [
    ['a read', (signal) => source.read({ maxItems: 7 }, signal)],
    ['an acknowledgement', (signal) => source.acknowledge(items, signal)],
    ['a lag', (signal) => source.lag(signal)],
  ];
}

function can(engine: SourceEngine, need: SourceNeed): boolean {
  if (need === 'openCount' || need === 'trim') return engine[need] !== undefined;
  return engine.heal !== undefined && engine[need] !== undefined;
}
