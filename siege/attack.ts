/**
 * The attackers, in a process of their own: all kinds that are named, against one gateway, until SIGTERM. Prints what
 * each has done so far, a line of JSON a second.
 *
 *     node siege/attack.ts <target as JSON> <kind> …
 */
import { Assault, leaveMs, type Target } from './assault.ts';
import { kinds } from './kinds.ts';

const [json = '', ...names] = process.argv.slice(2);
const target = JSON.parse(json) as Target;
const assaults = new Map(names.map((name) => [name, new Assault(target)]));
const print = (): void => {
  const counts = [...assaults].map(([name, assault]) => [name, assault.counts] as const);
  process.stdout.write(`${JSON.stringify(Object.fromEntries(counts))}\n`);
};

for (const [name, assault] of assaults) kinds[name]?.(assault);
setInterval(print, 1000);
process.once('SIGTERM', () => {
  for (const assault of assaults.values()) assault.stop();
  print();
  setTimeout(() => process.exit(), leaveMs);
});
