/**
 * Builds the console's page into `packages/gateway/dist/page`: `index.html`, and `assets` whose names contain a hash of
 * what is in them. With `--watch`, again after each change.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build, type BuildOptions, type BuildResult, context } from 'esbuild';

const root = import.meta.dirname;
// Not `dist/console`, which is where `tsc` writes what is in `src/console`, and which this empties.
const folder = join(root, '../packages/gateway/dist/page');
const isWatching = process.argv.includes('--watch');

const options = {
  absWorkingDir: root,
  // `index.html` is one of them so that a change of it is noticed as well.
  entryPoints: ['index.html', 'src/icon.svg', 'src/main.tsx'],
  // A page's Content-Security-Policy may forbid `data:`: what a style sheet names is a file of its own.
  loader: { '.html': 'copy', '.svg': 'copy', '.md': 'text' },
  outdir: folder,
  entryNames: 'assets/[name]-[hash]',
  chunkNames: 'assets/[name]-[hash]',
  assetNames: 'assets/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  target: 'es2022',
  // Before `module`: the packages of this repository as they are written.
  conditions: ['spillway-source', 'module'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  minify: true,
  charset: 'utf8',
  metafile: true,
  write: false,
  logLevel: isWatching ? 'info' : 'warning',
  plugins: [
    {
      name: 'page',
      setup: (bundler) => {
        bundler.onEnd((result) => {
          // The page before it stays while there is an error in the sources.
          if (result.errors.length === 0) writePage(result);
        });
      },
    },
  ],
} satisfies BuildOptions;
type PageResult = BuildResult<{ metafile: true; write: false }>;

if (isWatching) await (await context(options)).watch();
else await build(options);

function writePage({ outputFiles, metafile }: PageResult): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'assets'), { recursive: true });
  let html = readFileSync(join(root, 'index.html'), 'utf8');
  // Relative: the gateway's admin listener may be behind any path.
  const url = (path: string): string => `./assets/${basename(path)}`;
  for (const [path, { entryPoint, cssBundle }] of Object.entries(metafile.outputs)) {
    if (entryPoint === undefined) continue;
    html = html.replace(`./${entryPoint}`, url(path));
    if (cssBundle === undefined) continue;
    html = html.replace('  </head>', `    <link rel="stylesheet" href="${url(cssBundle)}" />\n  </head>`);
  }
  for (const { path, contents } of outputFiles) {
    if (!path.endsWith('.html')) writeFileSync(path, contents);
  }
  // Last: who finds it finds the rest.
  writeFileSync(join(folder, 'index.html'), html);
}
