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

/** Reads Vitest's report in JSON. A run without one came to nothing: then `output` is its trouble. */
export function readTestRun(report: string | undefined, output: string): TestRun {
  if (report === undefined) return { passed: 0, failures: [], troubles: [output] };
  const { success, testResults } = JSON.parse(report) as JsonTestResults;
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
  const failures = tests
    .filter(({ status }) => status === 'failed')
    .map(({ failureMessages }) => (failureMessages ?? []).join('\n'));
  const troubles = testResults.map(({ message }) => message).filter((message) => message !== '');
  if (!success && failures.length === 0 && troubles.length === 0) troubles.push(output);
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
