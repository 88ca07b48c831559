import { describe, expect, test } from 'vitest';
import { type SinkRule, sinkRules } from '../src/testing/index.ts';
import { MemoryEngine, type SinkDefects } from './support/memory-engine.ts';

for (const { number, name, check } of sinkRules(() => new MemoryEngine())) {
  test(`sink rule ${number}: ${name}`, check);
}

describe('the rules notice a sink', () => {
  const broken: readonly [rule: number, what: string, defects: SinkDefects][] = [
    [1, 'that resolves too early', { isHasty: true }],
    [1, 'that turns batches around', { isReversed: true }],
    [2, 'that leaves half a record behind', { tears: true }],
    [3, 'that writes again what is there', { repeats: true }],
    [3, 'that does not know what was there before it', { forgets: true }],
    [4, 'that never works again', { sulks: true }],
    [4, 'that resolves when its engine has failed', { lies: true }],
    [5, 'that refuses no records', { isPicky: true }],
    [6, 'that does not look at the signal', { isDeaf: true }],
    [6, 'that has a reason of its own', { isCurt: true }],
    [7, 'whose close does not wait', { hurries: true }],
    [7, 'whose close leaves something open', { leaks: true }],
    [8, 'that is written to after its close', { isTireless: true }],
    [9, 'that is closed once only', { isTouchy: true }],
    [10, 'that leaves out what stands behind a record that is refused', { isSpiteful: true }],
    [10, 'that says nothing of a record that is refused', { hushes: true }],
  ];
  for (const [number, what, defects] of broken) {
    test(`${what}: rule ${number}`, async () => {
      const rules = sinkRules(() => new MemoryEngine(defects), { steps: 30, deadlineMs: 300 });
      expect(await numbersOfBroken(rules.filter((rule) => rule.number === number))).toContain(number);
    });
  }
});

async function numbersOfBroken(rules: readonly SinkRule[]): Promise<number[]> {
  const broken: number[] = [];
  for (const { number, check } of rules) await check().catch(() => broken.push(number));
  return broken;
}

test('what an engine cannot do is skipped, and said', async () => {
  const plain = (): Parameters<typeof sinkRules>[0] => () => {
    const engine = new MemoryEngine();
    return { open: () => engine.open(), records: () => engine.records(), remembers: false };
  };
  const rules = sinkRules(plain());
  const skipped: string[] = [];
  for (const { number, check } of rules) {
    await check({ skip: (reason) => skipped.push(`${number}: ${reason}`) });
  }
  expect(skipped).toEqual([
    '2: the engine of this test has no fail',
    '3: the engine of this test has no memory of earlier sinks',
    '3: the engine of this test has no memory of earlier sinks',
    '4: the engine of this test has no fail',
    '4: the engine of this test has no fail',
    '10: the engine of this test has no refuse',
    '6: the engine of this test has no hang',
    '7: the engine of this test has no hang',
    '7: the engine of this test has no openCount',
  ]);
  // A check by itself proves its rule or rejects.
  await expect(rules.find(({ number }) => number === 2)?.check()).rejects.toThrow('not proved');
});
