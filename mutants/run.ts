/**
 * Breaks the build on purpose, one way at a time, and checks that the test that has to notice does.
 * A test that cannot fail proves nothing, and neither does one that fails for another reason: what a mutant names has to be
 * green on the unbroken build, and what fails on the broken one has to be a test's own expectation.
 *
 *     npm run mutants                 all of them
 *     npm run mutants -- 'promise 6'  those with this in their name
 *     npm run mutants -- --changed    those whose file or test has changed since the base, and a tenth of the others; as many
 *                                     of them as can be begun within three minutes, in an order that is drawn
 *
 * The base is where this branch left the commit in `MUTANTS_BASE`, or `origin/HEAD`, or the last commit that is a day older
 * than this one. What is drawn is drawn by this commit's hash: the same commit draws the same.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { copyCheckout, syntaxError } from './checkout.ts';
import { mutants, type Mutant } from './mutants.ts';
import { selectMutants } from './select.ts';
import { describe, hasNoticed, isGreen, readTestRun, type TestRun } from './test-run.ts';

/** What Vitest has written about a run. */
interface Report {
  /** `undefined`: it has not come so far. */
  readonly json: string | undefined;
  readonly output: string;
}

const root = join(import.meta.dirname, '..');
const filter = process.argv[2] ?? '';
/** `npm run check` has just seen all tests pass, so that they are not tried on the unbroken build once more. */
const isChecked = filter === '--changed';
const queue = isChecked ? selectMutants(root) : mutants.filter(({ name }) => name.includes(filter));
const skipped = mutants.length - queue.length;
if (skipped > 0) console.log(`mutants: ${queue.length} of ${mutants.length}, ${skipped} are left out`);
const unbroken = isChecked ? undefined : await runUnbroken();
const endMs = isChecked ? performance.now() + 180_000 : Infinity;
let caught = 0;
let survived = 0;

// The tests spend half of their time waiting for processes, so three at once fit two cores.
await Promise.all([work(), work(), work()]);
if (queue.length > 0)
  console.log(`mutants: ${queue.length} were not begun in time: npm run mutants tries all`);
console.log(`mutants: ${caught} passed, ${survived} failed`);
process.exitCode = survived === 0 && caught > 0 ? 0 : 1;

async function work(): Promise<void> {
  for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
    if (performance.now() > endMs) {
      queue.unshift(mutant);
      return;
    }
    const problem = await survives(mutant);
    if (problem === undefined) caught += 1;
    else survived += 1;
    console.log(`${problem === undefined ? 'caught  ' : 'SURVIVED'} ${mutant.name}${problem ?? ''}`);
  }
}

/** Resolves with a text if the broken build goes unnoticed. */
async function survives(mutant: Mutant): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-mutant-'));
  try {
    copyCheckout(root, folder);
    const path = join(folder, mutant.file);
    const source = readFileSync(path, 'utf8');
    if (source.split(mutant.find).length !== 2) {
      return `: expected to find its text once in ${mutant.file}: ${mutant.find}`;
    }
    if (unbroken !== undefined && !isGreen(readTestRun(unbroken.json, unbroken.output, mutant))) {
      // One of many at once may have been too slow.
      const before = await runIn(folder, mutant);
      if (!isGreen(before)) return `: its tests are not green on the unbroken build:\n${describe(before)}`;
    }
    // A function, because "$" means something in a replacement text.
    writeFileSync(
      path,
      source.replace(mutant.find, () => mutant.replace),
    );
    const defect = syntaxError(path);
    if (defect !== undefined) return `: it is no program any more:\n${defect}`;
    const broken = await runIn(folder, mutant);
    if (hasNoticed(broken)) return undefined;
    return isGreen(broken) ? '' : `: no test of its own noticed, which is no catch:\n${describe(broken)}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs the tests of all mutants on the unbroken build, each file once. */
async function runUnbroken(): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-unbroken-'));
  try {
    const tests = new Set(queue.map(({ test }) => test));
    const names = queue.flatMap(({ only }) => only ?? []);
    // Tests that no mutant names are left out, if each mutant names some.
    const only = names.length === queue.length ? [...new Set(names)].join('|') : undefined;
    return await runTests(root, join(folder, 'results.json'), [...tests], only);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs the tests that have to notice a mutant, in a copy of the checkout. */
async function runIn(folder: string, mutant: Mutant): Promise<TestRun> {
  const reportFile = join(folder, 'test-results.json');
  rmSync(reportFile, { force: true });
  const { json, output } = await runTests(folder, reportFile, [mutant.test], mutant.only);
  return readTestRun(json, output, mutant);
}

async function runTests(
  cwd: string,
  reportFile: string,
  tests: readonly string[],
  only: string | undefined,
): Promise<Report> {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  // Only in Node: a browser would start for each, and find nothing else.
  const args = ['run', '--project', 'node', ...tests, ...(only === undefined ? [] : ['-t', only])];
  const report = ['--reporter=json', `--outputFile=${reportFile}`, '--testTimeout=60000'];
  // A shorter deadline than usual: most mutants are noticed by something that does not happen. A test may wait for several such.
  const env = { ...process.env, TEST_DEADLINE_MS: '10000', NO_COLOR: '1' };
  const output = await new Promise<string>((resolve) => {
    execFile(
      process.execPath,
      [vitest, ...args, ...report],
      { cwd, env, maxBuffer: 64 * 1024 * 1024 },
      (_error, stdout, stderr) => resolve(stdout + stderr),
    );
  });
  return { json: existsSync(reportFile) ? readFileSync(reportFile, 'utf8') : undefined, output };
}
