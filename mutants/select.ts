import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mutants, type Mutant } from './mutants.ts';

/** Of those whose file and test are as before, one in so many. */
const oneIn = 10;

/** The mutants whose file or test has changed since the base, and a drawn part of the others, in a drawn order. */
export function selectMutants(root: string): Mutant[] {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  const head = git('rev-parse', 'HEAD');
  const changed = new Set(git('diff', '--name-only', baseOf(head, git)).split('\n'));
  return mutants
    .filter(
      ({ file, name, test }) => changed.has(file) || changed.has(test) || drawn(head, name) % oneIn === 0,
    )
    .toSorted((one, other) => drawn(head, one.name) - drawn(head, other.name));
}

/** Since when what has changed is new. */
export function baseOf(head: string, git: (...args: string[]) => string): string {
  const given = process.env['MUTANTS_BASE'];
  // Not what has changed there since.
  if (given !== undefined && given !== '') return git('merge-base', 'HEAD', given);
  try {
    const base = git('merge-base', 'HEAD', 'origin/HEAD');
    if (base !== head) return base;
  } catch {
    // A clone of one branch has no such name.
  }
  const dayBefore = Number(git('show', '-s', '--format=%ct', 'HEAD')) - 86_400;
  const old = git('rev-list', '-1', `--before=${dayBefore}`, 'HEAD');
  // All of the history is younger, or this clone has no more of it: everything is new.
  return old === '' ? emptyTree : old;
}

/** What git calls a tree without files. */
const emptyTree = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';

/** A number that the seed and a name draw. */
export function drawn(seed: string, name: string): number {
  return createHash('sha256').update(`${seed} ${name}`).digest().readUInt32BE(0);
}
