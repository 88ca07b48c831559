/** Compares `docs/promises.md` with the tests and the mutants: see {@link problemsOf}. */
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
for (const problem of problems) console.error(problem);
console.log(
  `promises: ${problems.length} problems, ${paths.length} files with tests, ${mutants.length} mutants`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
