/**
 * Breaks lines that have changed in ways that chance chooses, and says which of them no test noticed that imports their file. A place
 * to look at, and no failure: what only processes of their own run (most of the gateway), such tests cannot see.
 *
 *     npm run mutants:random            20 of them
 *     npm run mutants:random -- 50 7    50, drawn by the seed 7; without one, by this commit
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { copyCheckout, syntaxError } from './checkout.ts';
import { baseOf, drawn } from './select.ts';

/** How code is broken: a pattern, and what stands there instead. */
const operators: readonly (readonly [RegExp, string])[] = [
  [/ === /g, ' !== '],
  [/ !== /g, ' === '],
  [/ < /g, ' <= '],
  [/ <= /g, ' < '],
  [/ > /g, ' >= '],
  [/ >= /g, ' > '],
  [/ && /g, ' || '],
  [/ \|\| /g, ' && '],
  [/ \+ /g, ' - '],
  [/ - /g, ' + '],
  [/\btrue\b/g, 'false'],
  [/\bfalse\b/g, 'true'],
  [/\bif \((.*)\) /g, 'if (!($1)) '],
  [/ \?\? /g, ' && '],
  [/^(\s+)(?:await |void )?[\w.#?!]+\(.*\);$/g, '$1;'],
];

/** A line that can be broken in one place. */
interface Site {
  readonly file: string;
  readonly line: number;
  readonly before: string;
  readonly after: string;
}

const root = join(import.meta.dirname, '..');
const git = (...args: string[]): string =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 }).trim();
const head = git('rev-parse', 'HEAD');
const [count = '20', seed = head] = process.argv.slice(2);
const sites = changedLines(git('diff', '-U0', '-M', '--no-color', baseOf(head, git), '--', 'packages'))
  .flatMap(brokenIn)
  .toSorted((one, other) => drawn(seed, nameOf(one)) - drawn(seed, nameOf(other)));
const folder = mkdtempSync(join(tmpdir(), 'spillway-random-'));
let tried = 0;
let unnoticed = 0;
try {
  copyCheckout(root, folder);
  for (const site of sites) {
    if (tried >= Number(count)) break;
    const isNoticed = tryOut(site);
    if (isNoticed === undefined) continue;
    tried += 1;
    if (isNoticed) continue;
    unnoticed += 1;
    console.log(`${site.file}:${site.line}\n  - ${site.before.trim()}\n  + ${site.after.trim()}`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`random mutants: ${tried} of ${sites.length}, ${unnoticed} that no test noticed`);

/** Whether a test noticed; `undefined`: it is no program, or no test imports its file. */
function tryOut({ after, before, file, line }: Site): boolean | undefined {
  const path = join(folder, file);
  const source = readFileSync(path, 'utf8');
  const lines = source.split('\n');
  // The working tree may have changed since.
  if (lines[line - 1] !== before) return undefined;
  lines[line - 1] = after;
  writeFileSync(path, lines.join('\n'));
  try {
    if (syntaxError(path) !== undefined) return undefined;
    const vitest = join(root, 'node_modules/vitest/vitest.mjs');
    const args = ['related', '--run', '--project', 'node', file, '--bail=1', '--testTimeout=20000'];
    const env = { ...process.env, TEST_DEADLINE_MS: '5000', NO_COLOR: '1' };
    const { status, stderr, stdout } = spawnSync(process.execPath, [vitest, ...args], {
      cwd: folder,
      encoding: 'utf8',
      env,
      timeout: 300_000,
    });
    return /No test files found/.test(stdout + stderr) ? undefined : status !== 0;
  } finally {
    writeFileSync(path, source);
  }
}

/** Lines of code that a diff adds, and that say what is done. */
function changedLines(diff: string): Omit<Site, 'after'>[] {
  const found: Omit<Site, 'after'>[] = [];
  let file = '';
  let line = 0;
  for (const text of diff.split('\n')) {
    file = /^\+\+\+ b\/(.*)/.exec(text)?.[1] ?? file;
    const start = /^@@ -\S+ \+(\d+)/.exec(text)?.[1];
    if (start !== undefined) line = Number(start);
    if (!/^\+(?!\+\+)/.test(text)) continue;
    const isCode =
      /^packages\/\w+\/src\/.*\.ts$/.test(file) && !/^\+\s*(?:\*|\/\/|\/\*|import|export type)/.test(text);
    if (isCode) found.push({ file, line, before: text.slice(1) });
    line += 1;
  }
  return found;
}

function brokenIn(site: Omit<Site, 'after'>): Site[] {
  return operators.flatMap(([pattern, replacement]) =>
    [...site.before.matchAll(pattern)].map((match) => ({
      ...site,
      after:
        site.before.slice(0, match.index) +
        match[0].replace(new RegExp(pattern.source), replacement) +
        site.before.slice(match.index + match[0].length),
    })),
  );
}

function nameOf({ after, file, line }: Site): string {
  return `${file}:${line} ${after}`;
}
