import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { KeptSeeds, Seed } from './property.ts';

const file = new URL('../kept-seeds.json', import.meta.url);

/** Adds a seed to those that are tried first from now on. */
export function keepSeed(name: string, seed: Seed): void {
  // What is there now, and not when this file was loaded: other test files keep theirs in it.
  const kept = JSON.parse(readFileSync(file, 'utf8')) as KeptSeeds;
  const changed: KeptSeeds = { ...kept, [name]: [...(kept[name] ?? []), seed] };
  // In one step, because another test file may be loading it.
  const part = new URL(`${file.href}.${process.pid}`);
  writeFileSync(part, `${JSON.stringify(changed, null, 2)}\n`);
  renameSync(part, file);
}
