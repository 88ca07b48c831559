import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Names between single quotes behind `from`, up to `to`. */
function namesIn(path: string, from: string, to: string): string[] {
  const [, rest = ''] = read(path).split(from);
  const [part = ''] = rest.split(to);
  return [...part.matchAll(/'([a-z_]+)'/g)].map(([, name = '']) => name);
}

/** Keys such as `upstream_cut: 502`. */
function gatewayCodes(): string[] {
  const [, rest = ''] = read('packages/server/src/errors.ts').split('const statuses = {');
  return [...(rest.split('}')[0] ?? '').matchAll(/^ {2}([a-z_]+): \d/gm)].map(([, name = '']) => name);
}

test('docs/errors.md has each code once, with when, why and what to do', () => {
  const codes = new Set([
    ...gatewayCodes(),
    ...namesIn('packages/core/src/errors.ts', 'export type ErrorCode =', ';'),
    ...namesIn('packages/client/src/errors.ts', 'export type ClientErrorCode =', '//'),
    ...namesIn(
      'packages/gateway/src/config/config-error.ts',
      'class ConfigError extends SpillwayError<',
      '>',
    ),
  ]);
  const sections = read('docs/errors.md').split(/^### /m).slice(1);
  const found = sections.map((section) => /^`([a-z_]+)`\n/.exec(section)?.[1] ?? section);
  expect(found.toSorted()).toEqual([...codes].toSorted());
  for (const section of sections) {
    expect(
      [...section.matchAll(/^- \*\*(\w+)\*\*: \S/gm)].map(([, part]) => part),
      section,
    ).toEqual(['When', 'Why', 'Do']);
  }
});

test('PROTOCOL.md has each code of the gateway that a client can get', () => {
  const inNoAnswer = new Set(['client_left', 'upstream_reported']);
  const rows = new Set([...read('PROTOCOL.md').matchAll(/^\| `([a-z_]+)` \|/gm)].map(([, code]) => code));
  expect(gatewayCodes().filter((code) => !inNoAnswer.has(code) && !rows.has(code))).toEqual([]);
});

test('docs/errors.md names settings and options that are there', () => {
  const known = [
    'packages/gateway/src/config/schema.ts',
    'packages/gateway/src/config/tenant.ts',
    'packages/gateway/src/config/upstream.ts',
    'packages/client/src/client-options.ts',
    'packages/client/README.md',
    'packages/core/interface.txt',
    'packages/redis/README.md',
  ]
    .map(read)
    .join('\n');
  const named = [...read('docs/errors.md').matchAll(/`([a-z]+[A-Z]\w*)`/g)].map(([, name = '']) => name);
  expect(named.filter((name) => !new RegExp(`\\b${name}\\b`).test(known))).toEqual([]);
});
