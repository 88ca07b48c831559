import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';
import { expect, test } from 'vitest';

async function gzippedBytes(source: string): Promise<number> {
  const name = 'virtual-entry.ts';
  const bundle = await rolldown({
    input: name,
    external: ['react'],
    resolve: { conditionNames: ['spillway-source'] },
    plugins: [
      {
        name: 'entry',
        resolveId: (id) => (id === name ? id : undefined),
        load: (id) => (id === name ? source : undefined),
      },
    ],
  });
  const { output } = await bundle.generate({ format: 'esm', minify: true });
  await bundle.close();
  return gzipSync(output[0].code, { level: 9 }).length;
}

// What a page downloads. The ceilings are a tenth above what it took when they were set: room for mending,
// not for another feature, which has to argue for its bytes.
test.each([
  // 106 of these are the window in milliseconds: a player has no other way to bound what it has yet to play.
  ['fetch', 'index.ts', '{ createFetch }', 9150],
  ['everything', 'index.ts', '*', 9200],
  ['the hook alone', 'react.ts', '*', 1400],
])('%s, minified and gzipped', async (_what, file, names, ceiling) => {
  const from = JSON.stringify(fileURLToPath(new URL(`../src/${file}`, import.meta.url)));
  const bytes = await gzippedBytes(`export ${names} from ${from}`);
  expect(bytes).toBeGreaterThan(ceiling * 0.5);
  expect(bytes).toBeLessThanOrEqual(ceiling);
});
