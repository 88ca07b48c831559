/**
 * Compares what packages give to programs with what is written down of it, so that it never changes by accident, and sees
 * that each part of it has its documentation comment.
 *
 *     npm run interface               compares
 *     npm run interface -- --write    writes it down anew
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { publicInterface } from './public-interface.ts';

const root = join(import.meta.dirname, '..');
let problems = 0;
for (const name of ['core', 'client']) {
  const file = `packages/${name}/interface.txt`;
  const { text, undocumented } = publicInterface(join(root, 'packages', name));
  for (const bare of undocumented) {
    problems += 1;
    console.error(`@spillway/${name}: ${bare} has no documentation comment`);
  }
  if (process.argv[2] === '--write') writeFileSync(join(root, file), text);
  else if (readFileSync(join(root, file), 'utf8') !== text) {
    problems += 1;
    console.error(
      `${file} is not what the package has: npm run interface -- --write, and look at what changed`,
    );
  }
}
console.log(`interface: ${problems} problems`);
process.exitCode = problems === 0 ? 0 : 1;
