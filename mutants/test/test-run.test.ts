import { expect, test } from 'vitest';
import { hasNoticed, isGreen, readTestRun } from '../test-run.ts';

const cases = [
  ['all passed', report(['passed']), true, false],
  ['an expectation failed', report(['passed', 'AssertionError: expected 1 to be 2']), false, true],
  ['what a test waited for did not come', report(['Error: waited 10000 ms for the end']), false, true],
  ['it was too slow', report(['Error: Test timed out in 25000ms.']), false, false],
  ['its hook was too slow', report(['Error: Hook timed out in 60000ms.']), false, false],
  ['no test has that name', report([]), false, false],
  ['its file cannot be loaded', report([], 'SyntaxError: Unexpected token'), false, false],
  ['there is no report', undefined, false, false],
] as const;

test.each(cases)('a run of tests: %s', (_what, text, green, noticed) => {
  const run = readTestRun(text, 'what it printed');
  expect({ green: isGreen(run), noticed: hasNoticed(run) }).toEqual({ green, noticed });
});

/** A report in Vitest's form; a test that has not passed is given as its error. */
function report(tests: readonly string[], message = ''): string {
  const assertionResults = tests.map((result) =>
    result === 'passed'
      ? { status: 'passed', failureMessages: [] }
      : { status: 'failed', failureMessages: [result] },
  );
  const success = message === '' && tests.every((result) => result === 'passed');
  return JSON.stringify({ success, testResults: [{ message, assertionResults }] });
}
