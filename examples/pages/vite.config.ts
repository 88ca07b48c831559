import { defineConfig } from 'vite';

const pages = ['index', 'fetch', 'reader', 'react', 'event-source'];

export default defineConfig({
  root: import.meta.dirname,
  // Before `module` and `browser`: the packages of this repository as they are written.
  resolve: { conditions: ['spillway-source', 'module', 'browser', 'development|production'] },
  build: { rolldownOptions: { input: pages.map((page) => `${import.meta.dirname}/${page}.html`) } },
});
