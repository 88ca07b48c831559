/**
 * Breaks lines that have changed in ways that chance chooses, and says of each whether a test noticed that imports its file. A place
 * to look at, and no failure: what only processes of their own run (most of the gateway), such tests cannot see.
 *
 *     npm run mutants:random                     20 of them
 *     npm run mutants:random -- 50 7             50, drawn by the seed 7; without one, by this commit
 *     MUTANTS_BASE=main npm run mutants:random   of the lines that have changed since it left main
 *
 * Without `MUTANTS_BASE` the base is that of `npm run mutants -- --changed`: in a clone without `origin`, the last commit that is a day
 * older than this one. Each takes a minute at most.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
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

/** What became of one; `unknown`: its tests did not end in time, and something hangs or they are many. */
type Outcome = 'noticed' | 'unnoticed' | 'unknown' | 'untested';

const longestMs = 60_000;
const root = join(import.meta.dirname, '..');
const git = (...args: string[]): string =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 }).trim();
const head = git('rev-parse', 'HEAD');
const [count = '20', seed = head] = process.argv.slice(2);
const base = baseOf(head, git);
const sites = changedLines(git('diff', '-U0', '-M', '--no-color', base, '--', 'packages'))
  .flatMap(brokenIn)
  .toSorted((one, other) => drawn(seed, nameOf(one)) - drawn(seed, nameOf(other)));
const folder = mkdtempSync(join(tmpdir(), 'spillway-random-'));
/** Ends the tests that run. */
let endTests: (() => void) | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    endTests?.();
    rmSync(folder, { recursive: true, force: true });
    process.exit(1);
  });
}
/** Files that no test imports: to ask again takes seconds. */
const untested = new Set<string>();
let tried = 0;
let unnoticed = 0;
console.log(`random mutants: ${sites.length} places in lines that have changed since ${base}`);
try {
  copyCheckout(root, folder);
  for (const site of sites) {
    if (tried >= Number(count)) break;
    if (untested.has(site.file)) continue;
    const outcome = await tryOut(site);
    if (outcome === undefined) continue;
    console.log(`${outcome.padEnd(9)} ${site.file}:${site.line}`);
    if (outcome === 'untested') {
      untested.add(site.file);
      continue;
    }
    tried += 1;
    if (outcome === 'noticed') continue;
    if (outcome === 'unnoticed') unnoticed += 1;
    console.log(`  - ${site.before.trim()}\n  + ${site.after.trim()}`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`random mutants: ${tried} of ${sites.length}, ${unnoticed} that no test noticed`);

/** What became of it; `undefined`: it is no program, or its file has changed meanwhile. */
async function tryOut({ after, before, file, line }: Site): Promise<Outcome | undefined> {
  const path = join(folder, file);
  const source = readFileSync(path, 'utf8');
  const lines = source.split('\n');
  // The working tree may have changed since.
  if (lines[line - 1] !== before) return undefined;
  lines[line - 1] = after;
  writeFileSync(path, lines.join('\n'));
  try {
    if (syntaxError(path) !== undefined) return undefined;
    return await runTests(file);
  } finally {
    writeFileSync(path, source);
  }
}

/** Runs the tests that import a file, in a group of processes of their own, which is ended when they take too long. */
async function runTests(file: string): Promise<Outcome> {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const args = ['related', '--run', '--project', 'node', file, '--bail=1', '--testTimeout=20000'];
  const env = { ...process.env, TEST_DEADLINE_MS: '5000', NO_COLOR: '1' };
  const child = spawn(process.execPath, [vitest, ...args], {
    cwd: folder,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endTests = () => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  };
  const timer = setTimeout(endTests, longestMs);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(timer);
  endTests = undefined;
  if (signal !== null) return 'unknown';
  if (/No test files found/.test(output)) return 'untested';
  return status === 0 ? 'unnoticed' : 'noticed';
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
