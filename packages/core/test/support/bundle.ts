import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

/** What a page downloads that has this source: minified and gzipped. */
export async function gzippedBytes(source: string): Promise<number> {
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
