/** Compares `docs/promises.md` with the tests and the mutants: see {@link problemsOf}. And each mutant with the file that it breaks. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mutants } from '../mutants/mutants.ts';
import { problemsOf } from './promises.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const paths = globSync('{packages/*,console,bench,examples,siege}/test/**/*.test.ts', { cwd: root });
const problems = problemsOf(
  read('docs/promises.md'),
  paths.map((path) => ({ path, text: read(path) })),
  mutants,
);
// A mutant that has lost its text breaks nothing; to run it takes longer to say so.
for (const { file, find, name } of mutants) {
  const count = read(file).split(find).length - 1;
  if (count !== 1)
    problems.push(`${file}: expected the text of the mutant "${name}" once, got it ${count} times`);
}
for (const problem of problems) console.error(problem);
console.log(
  `promises: ${problems.length} problems, ${paths.length} files with tests, ${mutants.length} mutants`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
