import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { gzippedBytes } from '../../core/test/support/bundle.ts';

// What a page downloads. The ceilings are a tenth above what it took when they were set: room for mending,
// not for another feature, which has to argue for its bytes.
test.each([
  // 106 of these are the window in milliseconds: a player has no other way to bound what it has yet to play. 88 are the clock, which
  // is handed in so that what waits can be tested and simulated.
  ['fetch', 'index.ts', '{ createFetch }', 9250],
  ['everything', 'index.ts', '*', 9300],
  ['the hook alone', 'react.ts', '*', 1400],
])('%s, minified and gzipped', async (_what, file, names, ceiling) => {
  const from = JSON.stringify(fileURLToPath(new URL(`../src/${file}`, import.meta.url)));
  const bytes = await gzippedBytes(`export ${names} from ${from}`);
  expect(bytes).toBeGreaterThan(ceiling * 0.5);
  expect(bytes).toBeLessThanOrEqual(ceiling);
});
