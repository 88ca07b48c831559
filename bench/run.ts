/**
 * Benchmarks: figures for this machine, and ratios between programs measured in the same run.
 *
 *     npm run bench                  the workloads, W1 to W8
 *     npm run bench -- W1 W3         some of them
 *     npm run bench -- cancel        one of the other cases
 */
import { badLink } from './bad-link.ts';
import { cancel } from './cancel.ts';
import { coalesce } from './coalesce.ts';
import { channelMemory } from './channel-memory.ts';
import { channelRates } from './channel.ts';
import { Figures } from './figures.ts';
import { place } from './placement.ts';
import { stopAll } from './programs.ts';
import { session } from './session.ts';
import { stalledPage } from './stalled-page.ts';
import { systems } from './systems.ts';
import { burst } from './workloads/w1-burst.ts';
import { steady } from './workloads/w2-steady.ts';
import { stall } from './workloads/w3-stall.ts';
import { slowLinks } from './workloads/w4-slow-link.ts';
import { leave } from './workloads/w5-leave.ts';
import { idle } from './workloads/w6-idle.ts';
import { besideStalled } from './workloads/w7-beside.ts';
import { comeBack } from './workloads/w8-come-back.ts';
import type { Workload } from './workload.ts';

const workloads: readonly Workload[] = [
  { name: 'W1', title: '50 streams as fast as they go', run: burst },
  { name: 'W2', title: '1,000 streams at the speed of a model', run: steady },
  { name: 'W3', title: 'readers that stall', run: stall },
  { name: 'W4', title: 'readers behind slow links', run: slowLinks },
  { name: 'W5', title: 'readers that leave', run: leave },
  { name: 'W6', title: 'streams that are open, and idle', run: idle },
  { name: 'W7', title: 'live readers beside stalled ones', run: besideStalled },
  { name: 'W8', title: 'readers that are cut and come back', run: comeBack },
];

const cases: Readonly<Record<string, () => Promise<void>>> = {
  'bad-link': badLink,
  cancel,
  channel: channelRates,
  'channel-memory': channelMemory,
  coalesce,
  session,
  'stalled-page': stalledPage,
};

const asked = process.argv.slice(2);
const names = [...workloads.map(({ name }) => name), ...Object.keys(cases)];
const unknown = asked.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`bench: expected ${names.join(', ')}, got ${unknown.join(', ')}`);
  process.exit(1);
}
try {
  for (const name of asked.filter((candidate) => candidate in cases)) {
    console.log(`\n# ${name}`);
    await cases[name]?.();
  }
  const chosen = workloads.filter(({ name }) => asked.length === 0 || asked.includes(name));
  if (chosen.length > 0) {
    const placement = place();
    const present = systems.filter((system) => {
      const reason = system.missing?.();
      if (reason !== undefined) console.log(`Without ${system.name}: ${reason}.`);
      return reason === undefined;
    });
    console.log(`Each system ${placement.description}. In parentheses: as ratio to the bare Node pipe.`);
    for (const workload of chosen) {
      console.log(`\n# ${workload.name}: ${workload.title}`);
      const figures = new Figures();
      await workload.run({ systems: present, placement, figures, rounds: 5 });
      figures.print();
    }
  }
} finally {
  await stopAll();
}
