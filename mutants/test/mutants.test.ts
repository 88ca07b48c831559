import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { transformSync } from 'esbuild';
import { expect, test } from 'vitest';
import { mutants } from '../mutants.ts';

const root = join(import.meta.dirname, '../..');
const sources = new Map<string, string>();

test('each mutant finds its text once, and what it makes is a program', () => {
  const problems = mutants.flatMap(({ file, find, name, replace }) => {
    const source = sources.get(file) ?? readFileSync(join(root, file), 'utf8');
    sources.set(file, source);
    if (source.split(find).length !== 2) return [`${name}: its text is not there once`];
    if (!/\.tsx?$/.test(file)) return [];
    try {
      const loader = file.endsWith('x') ? 'tsx' : 'ts';
      transformSync(
        source.replace(find, () => replace),
        { loader, logLevel: 'silent' },
      );
      return [];
    } catch (error) {
      return [`${name}: ${String(error)}`];
    }
  });
  expect(problems).toEqual([]);
});
