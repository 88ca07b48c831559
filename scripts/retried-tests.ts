import type { Reporter, TestModule } from 'vitest/node';

/** More than so many on one machine are no chance. */
const maxRetried = 3;

/**
 * For Vitest: names each test that failed and then passed when it was tried once more, with what it failed for. Too many of
 * them fail the run. Vitest itself says nothing of them in a file that has passed.
 */
export class RetriedTests implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const retried = modules.flatMap((file) =>
      [...file.children.allTests('passed')]
        .filter((test) => test.diagnostic()?.flaky === true)
        .map(
          (test) =>
            `${file.relativeModuleId} > ${test.fullName}\n  ${test.result().errors?.[0]?.message ?? ''}\n`,
        ),
    );
    if (retried.length === 0) return;
    process.stderr.write(`Failed, and passed when tried once more, which is a fault of each test:\n`);
    process.stderr.write(retried.join(''));
    if (retried.length <= maxRetried) return;
    process.stderr.write(`expected at most ${maxRetried} of these, got ${retried.length}\n`);
    process.exitCode = 1;
  }
}
