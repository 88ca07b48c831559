import type { JsonTestResults } from 'vitest/node';

/** What one run of tests came to. */
export interface TestRun {
  /** How many tests passed. */
  readonly passed: number;
  /** Why each failed test failed. */
  readonly failures: readonly string[];
  /** What went wrong outside of tests: a file that cannot be loaded, an error that nobody caught. */
  readonly troubles: readonly string[];
}

/** The tests that are meant. */
export interface NamedTests {
  /** Their file, from the root of the repository. */
  readonly test: string;
  /** What their names match; `undefined`: all of the file. */
  readonly only?: string;
}

/**
 * Reads what Vitest's report in JSON says of the tests that are meant. A run without a report came to nothing: then `output` is
 * its trouble, and so it is if nothing in the report says why the run failed.
 */
export function readTestRun(
  report: string | undefined,
  output: string,
  { test, only = '' }: NamedTests,
): TestRun {
  if (report === undefined) return { passed: 0, failures: [], troubles: [output] };
  const { numFailedTests, success, testResults } = JSON.parse(report) as JsonTestResults;
  const files = testResults.filter(({ name }) => name.endsWith(`/${test}`));
  const pattern = new RegExp(only);
  const tests = files
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ fullName }) => pattern.test(fullName));
  const failures = tests
    .filter(({ status }) => status === 'failed')
    .map(({ failureMessages }) => (failureMessages ?? []).join('\n'));
  const troubles = files.map(({ message }) => message).filter((message) => message !== '');
  const isExplained = numFailedTests > 0 || testResults.some(({ message }) => message !== '');
  if (!success && !isExplained) troubles.push(output);
  return { passed: tests.filter(({ status }) => status === 'passed').length, failures, troubles };
}

/** Whether all went well, and there was a test at all. */
export function isGreen({ passed, failures, troubles }: TestRun): boolean {
  return passed > 0 && failures.length === 0 && troubles.length === 0;
}

/**
 * Whether a test noticed: one failed with an error of its own. That a test's time was over says only that something hung.
 * What a test itself waits for has a name (`eventually`), and is an expectation.
 */
export function hasNoticed({ failures }: TestRun): boolean {
  return failures.some((failure) => failure !== '' && !/^Error: (?:Test|Hook) timed out in /.test(failure));
}

/** For people: what failed, without the ways to it. */
export function describe({ failures, troubles }: TestRun): string {
  const texts = [...failures, ...troubles].map((text) => text.split(/\n {4}at /)[0] ?? '');
  return texts.filter((text) => text !== '').join('\n');
}
