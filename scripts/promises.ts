import type { Mutant } from '../mutants/mutants.ts';

/** A file with tests. */
export interface TestFile {
  /** From the root of the repository. */
  readonly path: string;
  readonly text: string;
}

/** A promise as `docs/promises.md` has it. */
interface Promised {
  readonly number: number;
  readonly sentence: string;
  /** What stands behind **Figure**, **Last measured** and so on. */
  readonly parts: ReadonlyMap<string, string>;
}

const parts = ['Figure', 'Tests', 'Mutants', 'Last measured'] as const;

/**
 * What is wrong between the page of promises, the tests and the mutants: a promise without a figure, a measurement, a test
 * whose name has its number, or a mutant; a test or a mutant that is named and is not there; one that names a promise
 * and is not on the page.
 */
export function problemsOf(page: string, tests: readonly TestFile[], mutants: readonly Mutant[]): string[] {
  const promises = promisesIn(page);
  const problems = promises.length === 0 ? ['there is no promise on the page'] : [];
  for (const promise of promises) problems.push(...problemsWith(promise, tests, mutants));
  const listed = (number: number, part: string): readonly string[] =>
    promises.filter((promise) => promise.number === number).flatMap((promise) => itemsOf(promise, part));
  for (const { path, text } of tests) {
    for (const { name, number } of namesIn(text)) {
      const isListed = listed(number, 'Tests').some((item) => {
        const { fragment, path: itsPath } = testOf(item);
        return itsPath === path && name.includes(fragment);
      });
      if (!isListed) problems.push(`promise ${number}: the test "${name}" of ${path} is not on the page`);
    }
  }
  for (const { name } of mutants) {
    const number = numberOf(name);
    if (number !== undefined && !listed(number, 'Mutants').includes(name)) {
      problems.push(`promise ${number}: the mutant "${name}" is not on the page`);
    }
  }
  return problems;
}

function problemsWith(promise: Promised, tests: readonly TestFile[], mutants: readonly Mutant[]): string[] {
  const { number, sentence } = promise;
  const problems: string[] = [];
  if (sentence === '') problems.push('has no sentence');
  for (const part of parts) if (!promise.parts.get(part)) problems.push(`has nothing under "${part}"`);
  const items = itemsOf(promise, 'Tests').map(testOf);
  for (const { fragment, path } of items) {
    const file = tests.find((one) => one.path === path);
    if (file === undefined) problems.push(`names ${path}, which is no file with tests`);
    else if (fragment === '' || !file.text.includes(fragment)) {
      problems.push(`names a test "${fragment}", which is not in ${path}`);
    }
  }
  if (!items.some(({ fragment }) => numberOf(fragment) === number)) {
    problems.push(`has no test whose name has "promise ${number}"`);
  }
  for (const name of itemsOf(promise, 'Mutants')) {
    const mutant = mutants.find((one) => one.name === name);
    if (mutant === undefined) problems.push(`names a mutant that is not there: "${name}"`);
    else if (!items.some(({ path }) => path === mutant.test)) {
      problems.push(`names the mutant "${name}" and not ${mutant.test}, which has to notice it`);
    }
  }
  return problems.map((problem) => `promise ${number} ${problem}`);
}

/** The page has a section for each: `## 4. A sentence`, and its parts as `**Tests**` with what follows. */
function promisesIn(page: string): Promised[] {
  return page
    .split(/^## /m)
    .slice(1)
    .flatMap((section) => {
      const [, number, sentence = ''] = /^(\d+)\. *(.*)/.exec(section) ?? [];
      if (number === undefined) return [];
      const found = section.split(/^\*\*([\w ]+)\*\*/m).slice(1);
      const pairs = found.flatMap((text, index) =>
        index % 2 === 0 ? [[text, (found[index + 1] ?? '').trim()] as const] : [],
      );
      return [{ number: Number(number), sentence, parts: new Map(pairs) }];
    });
}

function itemsOf({ parts: its }: Promised, part: string): string[] {
  const lines = (its.get(part) ?? '').split('\n');
  return lines.filter((line) => line.startsWith('- ')).map((line) => line.slice(2));
}

/** An item such as `` `path`: part of the name ``. */
function testOf(item: string): { path: string; fragment: string } {
  const [, path = item, fragment = ''] = /^`([^`]+)`: (.*)$/.exec(item) ?? [];
  return { path, fragment };
}

/** The texts between quotes that name a promise. */
function namesIn(text: string): { name: string; number: number }[] {
  return [...text.matchAll(/(['"`])((?:(?!\1).)*?\bpromise \d+\b(?:(?!\1).)*)\1/g)].flatMap(
    ([, , name = '']) => {
      const number = numberOf(name);
      return number === undefined ? [] : [{ name, number }];
    },
  );
}

function numberOf(name: string): number | undefined {
  const number = /\bpromise (\d+)\b/.exec(name)?.[1];
  return number === undefined ? undefined : Number(number);
}
