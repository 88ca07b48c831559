import { existsSync } from 'node:fs';

const isBuilt = existsSync(new URL('../dist/main.js', import.meta.url));
await import(isBuilt ? '../dist/main.js' : './from-source.js');
