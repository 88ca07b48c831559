import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { expectOwnSpill, markSpill, spillProblem } from '../src/tap/spill-place.ts';

test('records in a spill are of the place that stands in its folder, whoever writes there and however', async () => {
  const above = mkdtempSync(join(tmpdir(), 'spillway-spill-place-'));
  onTestFinished(() => rmSync(above, { recursive: true, force: true }));
  const spill = join(above, 'spill');
  const problem = (to: string): Promise<string | undefined> => spillProblem({ spill, to });
  expect(await problem('redis://h')).toBeUndefined();
  await markSpill({ spill, to: 'redis://me:s3cret@h?stream=llm' });
  expect(readFileSync(join(spill, 'place'), 'utf8')).toBe('redis://***@h?stream=llm\n');
  // It is empty.
  expect(await problem('redis://other')).toBeUndefined();
  writeFileSync(join(spill, '000000000007.spill'), 'x'.repeat(2048));
  for (const to of ['redis://h?stream=llm', 'redis://you@h/0?stream=llm&wait=1'])
    expect(await problem(to)).toBeUndefined();
  for (const to of ['redis://h', 'redis://h/1?stream=llm', 'redis://other?stream=llm', 'file:x']) {
    expect(await problem(to)).toContain('with 2KiB of records for redis://***@h?stream=llm. Take another');
    await expect(expectOwnSpill({ spill, to })).rejects.toMatchObject({ code: 'invalid_option' });
  }
  // Of one that an earlier version made nobody knows it.
  rmSync(join(spill, 'place'));
  expect(await problem('redis://other')).toBeUndefined();
});
