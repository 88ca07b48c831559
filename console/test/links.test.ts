import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { errorCodes } from '@spillway/server/errors';
import { docNames } from '../src/route.ts';
import { slugOf } from '../src/slug.ts';

const repository = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(repository, path), 'utf8');

const sections = new Map<string, ReadonlySet<string>>(
  docNames.map((doc) => {
    const titles = [...read(`docs/${doc}.md`).matchAll(/^#{1,6} (.*)$/gm)].map(([, title = '']) => title);
    return [doc, new Set(titles.map(slugOf))] as const;
  }),
);

test('each section of the documents to which the page leads is there', () => {
  const files = [
    'verdict.ts',
    'causes.ts',
    'gateway-page.tsx',
    'providers-page.tsx',
    'taps-page.tsx',
    'tenants-page.tsx',
  ]
    .map((file) => read(`console/src/${file}`))
    .join('\n');
  const links = [...files.matchAll(/docHref\('(\w+)', '([\w-]+)'\)/g)].map(([, doc = '', section = '']) => [
    doc,
    section,
  ]);
  links.push(
    ...[...files.matchAll(/runbook\('([\w-]+)'\)/g)].map(([, section = '']) => ['runbook', section]),
  );
  expect(links.length).toBeGreaterThan(6);
  for (const [doc = '', section = ''] of links) expect(sections.get(doc), section).toContain(section);
});

test('each code with which a stream or a reader may end has a section', () => {
  for (const code of errorCodes) expect(sections.get('errors')).toContain(code);
});
