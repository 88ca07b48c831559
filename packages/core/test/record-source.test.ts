import { describe, expect, test } from 'vitest';
import { type SourceRule, sourceRules } from '../src/testing/index.ts';
import { MemoryQueue, type SourceDefects } from './support/memory-queue.ts';

for (const { number, name, check } of sourceRules(() => new MemoryQueue())) {
  test(`source rule ${number}: ${name}`, check);
}

describe('the rules notice a source', () => {
  const broken: readonly [rule: number, what: string, defects: SourceDefects][] = [
    [1, 'that gives more than was asked for', { isGenerous: true }],
    [1, 'that does not look at bytes', { isHeavy: true }],
    [1, 'that gives nothing', { isHasty: true }],
    [2, 'that gives a record twice', { repeats: true }],
    [2, 'that turns what it reads around', { isReversed: true }],
    [2, 'that gives half a value', { tears: true }],
    [2, 'that begins with what comes next', { startsLate: true }],
    [3, 'that is silent about what was removed', { isSilent: true }],
    [3, 'whose place begins with what is acknowledged', { beginsLate: true }],
    [4, 'that forgets what was acknowledged', { forgets: true }],
    [4, 'that refuses what it knows already', { isPicky: true }],
    [4, 'that takes the last for all before it', { isTrusting: true }],
    [5, 'that takes what was read for done', { isRash: true }],
    [5, 'whose names have one place', { shares: true }],
    [5, 'that forgets, after a crash', { forgets: true }],
    [6, 'that does not count what was read', { isOptimistic: true }],
    [6, 'that knows no age', { isAgeless: true }],
    [7, 'that never works again', { sulks: true }],
    [7, 'that loses what it could not give', { drops: true }],
    [7, 'that fails with an error of its own', { isVague: true }],
    [8, 'that does not look at the signal', { isDeaf: true }],
    [8, 'that has a reason of its own', { isCurt: true }],
    [8, 'that loses what an aborted read would have given', { spills: true }],
    [9, 'whose close leaves a read waiting', { strands: true }],
    [9, 'whose close leaves something open', { leaks: true }],
    [10, 'that goes on after its close', { isTireless: true }],
    [11, 'that is closed once only', { isTouchy: true }],
  ];
  for (const [number, what, defects] of broken) {
    test(`${what}: rule ${number}`, async () => {
      const rules = sourceRules(() => new MemoryQueue(defects), { steps: 30, deadlineMs: 300 });
      expect(await numbersOfBroken(rules.filter((rule) => rule.number === number))).toContain(number);
    });
  }
});

async function numbersOfBroken(rules: readonly SourceRule[]): Promise<number[]> {
  const broken: number[] = [];
  for (const { number, check } of rules) await check().catch(() => broken.push(number));
  return broken;
}

test('what an engine cannot do is skipped, and said', async () => {
  const rules = sourceRules(() => {
    const queue = new MemoryQueue();
    return { open: (name) => queue.open(name), write: (records) => queue.write(records) };
  });
  const skipped: string[] = [];
  for (const { number, check } of rules) {
    await check({ skip: (reason) => skipped.push(`${number}: ${reason}`) });
  }
  expect(skipped).toEqual([
    '3: the engine of this test has no trim',
    '3: the engine of this test has no trim',
    '3: the engine of this test has no trim',
    '3: the engine of this test has no trim',
    '7: the engine of this test has no fail',
    '7: the engine of this test has no fail',
    '8: the engine of this test has no hang',
    '9: the engine of this test has no openCount',
  ]);
  // A check by itself proves its rule or rejects.
  await expect(rules.find(({ number }) => number === 7)?.check()).rejects.toThrow('not proved');
});
