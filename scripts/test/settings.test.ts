import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { configOptions, configSchema } from '../../packages/gateway/src/config/schema.ts';
import { cascadeOptions, recogniseOptions, speakOptions } from '../../packages/gateway/src/config/cascade.ts';
import { tapOptions } from '../../packages/gateway/src/config/tap.ts';
import { upstreamOptions } from '../../packages/gateway/src/config/upstream.ts';
import { toolOptions, voiceOptions } from '../../packages/gateway/src/config/voice.ts';
import { settingTables } from '../setting-tables.ts';

const all = [
  ...configOptions,
  ...tapOptions,
  ...upstreamOptions,
  ...voiceOptions,
  ...toolOptions,
  ...cascadeOptions,
  ...recogniseOptions,
  ...speakOptions,
];
const page = readFileSync(join(import.meta.dirname, '../../docs/configuration.md'), 'utf8');

test('docs/configuration.md has the settings of the gateway, with their defaults and ranges (npm run settings writes them)', () => {
  expect(settingTables(page)).toBe(page);
});

test('each setting says in a sentence of plain words what it is', () => {
  for (const { description, key } of all) {
    expect(description.length, key).toBeGreaterThan(20);
    // It stands in a list, behind the name of the setting.
    expect(description, key).toMatch(/^[a-z].*[^.]$/);
    expect(description, key).not.toMatch(/\blet go\b|\bwhat\b (?:has|have|is|was)\b|\bthat have come\b/);
  }
});

test('the files that documents show as configuration are valid', () => {
  const documents = [
    'docs/audit.md',
    'docs/configuration.md',
    'docs/operating.md',
    'docs/taps.md',
    'docs/voice.md',
    'README.md',
  ];
  const files = documents.flatMap((path) => {
    const text = readFileSync(join(import.meta.dirname, '../..', path), 'utf8');
    return [...text.matchAll(/^```yaml\n((?:tap|upstream|voice):.*?)^```$/gms)].map(([, file = '']) => file);
  });
  expect(files).toHaveLength(11);
  for (const file of files) expect(configSchema.safeParse(parse(file)).error, file).toBeUndefined();
});
