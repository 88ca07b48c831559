/**
 * Benchmarks: figures for this machine, and ratios between programs measured in the same run.
 *
 *     npm run bench                  all of them
 *     npm run bench -- cancel        one of them
 */
import { badLink } from './bad-link.ts';
import { cancel } from './cancel.ts';
import { coalesce } from './coalesce.ts';
import { channelMemory } from './channel-memory.ts';
import { channelRates } from './channel.ts';
import { cpuPerToken } from './cpu-per-token.ts';
import { stopAll } from './programs.ts';
import { session } from './session.ts';
import { slowLink } from './slow-link.ts';
import { stalledMemory } from './stalled-memory.ts';
import { stalledPage } from './stalled-page.ts';

const cases: Readonly<Record<string, () => Promise<void>>> = {
  'bad-link': badLink,
  cancel,
  channel: channelRates,
  'channel-memory': channelMemory,
  coalesce,
  'cpu-per-token': cpuPerToken,
  session,
  'slow-link': slowLink,
  'stalled-memory': stalledMemory,
  'stalled-page': stalledPage,
};

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in cases));
if (unknown.length > 0) {
  console.error(`bench: expected ${Object.keys(cases).join(', ')}, got ${unknown.join(', ')}`);
  process.exit(1);
}
try {
  for (const [name, run] of Object.entries(cases)) {
    if (asked.length > 0 && !asked.includes(name)) continue;
    console.log(`\n# ${name}`);
    await run();
  }
} finally {
  await stopAll();
}
