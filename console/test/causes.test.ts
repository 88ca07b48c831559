import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { causes } from '../src/causes.ts';
import { stallCauses } from '../../packages/server/src/stream/meter.ts';

test('each cause for which a model waits has a text and a colour, light and dark', () => {
  expect([...causes].toSorted()).toEqual([...stallCauses].toSorted());
  const style = readFileSync(join(import.meta.dirname, '../src/style.css'), 'utf8');
  for (const cause of causes) expect(style.split(`--cause-${cause}: #`), cause).toHaveLength(3);
});
