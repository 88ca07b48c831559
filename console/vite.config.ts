import { defineConfig } from 'vite';

export default defineConfig({
  root: import.meta.dirname,
  // Whatever path the gateway's admin listener is behind.
  base: './',
  // Before `module` and `browser`: the packages of this repository as they are written.
  resolve: { conditions: ['spillway-source', 'module', 'browser', 'development|production'] },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    // Not `dist/console`, which is where `tsc` writes what is in `src/console`, and which this empties.
    outDir: `${import.meta.dirname}/../packages/gateway/dist/page`,
    emptyOutDir: true,
    target: 'es2022',
    // A page's Content-Security-Policy may forbid `data:`.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
