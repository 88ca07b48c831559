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
  const run = readTestRun(text, 'what it printed', { test: 'a/b.test.ts' });
  expect({ green: isGreen(run), noticed: hasNoticed(run) }).toEqual({ green, noticed });
});

test('of a run of more tests only those that are meant count', () => {
  const one = file('/root/a/b.test.ts', [
    ended('holds', 'passed'),
    ended('a group breaks', 'AssertionError: no'),
  ]);
  const other = file('/root/other/a.test.ts', [ended('breaks, too', 'AssertionError: neither')]);
  const text = JSON.stringify({ success: false, numFailedTests: 2, testResults: [one, other] });
  const read = (path: string, only?: string): unknown =>
    readTestRun(text, 'what it printed', { test: path, ...(only === undefined ? {} : { only }) });
  expect(read('a/b.test.ts', '^holds$')).toEqual({ passed: 1, failures: [], troubles: [] });
  expect(read('a/b.test.ts', 'group .r')).toMatchObject({ passed: 0, failures: ['AssertionError: no'] });
  expect(read('a/b.test.ts')).toMatchObject({ passed: 1, failures: ['AssertionError: no'] });
  expect(read('a/c.test.ts')).toMatchObject({ passed: 0 });
});

/** A report in Vitest's form; a test that has not passed is given as its error. */
function report(tests: readonly string[], message = ''): string {
  const assertionResults = tests.map((result, index) => ended(`test ${index}`, result));
  const failed = assertionResults.filter(({ status }) => status === 'failed').length;
  const testResults = [file('/root/a/b.test.ts', assertionResults, message)];
  return JSON.stringify({ success: message === '' && failed === 0, numFailedTests: failed, testResults });
}

function file(name: string, assertionResults: readonly Ended[], message = ''): object {
  return { name, message, assertionResults };
}

/** A test that has passed, or failed with this error. */
function ended(fullName: string, result: string): Ended {
  return result === 'passed'
    ? { fullName, status: 'passed', failureMessages: [] }
    : { fullName, status: 'failed', failureMessages: [result] };
}

interface Ended {
  readonly fullName: string;
  readonly status: 'passed' | 'failed';
  readonly failureMessages: readonly string[];
}
