import { describe, expect, test } from 'vitest';
import { problemsOf } from '../promises.ts';

const page = `# Promises

## 4. Everything comes once

More about it.

**Figure** 0 bytes lost

**Tests**

- \`a/test/a.test.ts\`: promise 4: once
- \`a/test/b.test.ts\`: in order

**Mutants**

- promise 4: twice

**Last measured** today
`;
// Put together, so that this file does not itself name a test of that promise.
const promise = 'promise';
const tests = [
  { path: 'a/test/a.test.ts', text: `test('${promise} 4: once and again', …)` },
  { path: 'a/test/b.test.ts', text: "test('in order', …)" },
];
const mutant = (name: string) => ({ name, file: 'a', find: 'a', replace: 'b', test: 'a/test/a.test.ts' });
const mutants = [mutant('promise 4: twice'), mutant('something else')];

test('a page that says what there is has no problem', () => {
  expect(problemsOf(page, tests, mutants)).toEqual([]);
});

describe('what the page has and the project has not is a problem', () => {
  test.each([
    [
      'a file that is not there',
      page.replace('a/test/b', 'a/test/c'),
      /a\/test\/c\.test\.ts, which is no file/,
    ],
    ['a test that is not there', page.replace('in order', 'in any order'), /"in any order", which is not in/],
    [
      'a mutant that is not there',
      page.replace('4: twice', '4: thrice'),
      /is not there: "promise 4: thrice"/,
    ],
    ['no test with its number', page.replace(/- .*once\n/, ''), /no test whose name has "promise 4"/],
    ['no tests', page.replace(/\*\*Tests[^]*?\*\*Mut/, '**Mut'), /nothing under "Tests"/],
    ['no mutant', page.replace('- promise 4: twice', ''), /nothing under "Mutants"/],
    ['no figure', page.replace('0 bytes lost', ''), /nothing under "Figure"/],
    ['no measurement', page.replace('today', ''), /nothing under "Last measured"/],
    ['no promises', 'Nothing.', /no promise on the page/],
  ])('%s', (_what, broken, problem) => {
    expect(problemsOf(broken, tests, mutants).join('\n')).toMatch(problem);
  });
});

test('a mutant whose test is not on the page is a problem', () => {
  const elsewhere = mutants.map((one) => ({ ...one, test: 'c/test/c.test.ts' }));
  expect(problemsOf(page, tests, elsewhere)).toEqual([
    'promise 4 names the mutant "promise 4: twice" and not c/test/c.test.ts, which has to notice it',
  ]);
});

describe('what the project has and the page has not is a problem', () => {
  test('a test', () => {
    const more = [...tests, { path: 'c/test/c.test.ts', text: `describe('5.8, ${promise} 7: never', …)` }];
    expect(problemsOf(page, more, mutants)).toEqual([
      'promise 7: the test "5.8, promise 7: never" of c/test/c.test.ts is not on the page',
    ]);
  });

  test('a mutant', () => {
    expect(problemsOf(page, tests, [...mutants, mutant('promise 4: thrice')])).toEqual([
      'promise 4: the mutant "promise 4: thrice" is not on the page',
    ]);
  });
});
