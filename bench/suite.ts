import { execFileSync } from 'node:child_process';
import { cpus, release } from 'node:os';
import { type Figure, Figures } from './figures.ts';
import { place } from './placement.ts';
import { spillway, type System, systems, yardstick } from './systems.ts';
import type { Rounds, Workload } from './workload.ts';
import { burst } from './workloads/w1-burst.ts';
import { steady } from './workloads/w2-steady.ts';
import { stall } from './workloads/w3-stall.ts';
import { slowLinks } from './workloads/w4-slow-link.ts';
import { leave } from './workloads/w5-leave.ts';
import { idle } from './workloads/w6-idle.ts';
import { besideStalled } from './workloads/w7-beside.ts';
import { comeBack } from './workloads/w8-come-back.ts';

export const workloads: readonly Workload[] = [
  { name: 'W1', title: '50 streams as fast as they go', run: burst },
  { name: 'W2', title: '1,000 streams at the speed of a model', run: steady },
  { name: 'W3', title: 'readers that stall', run: stall },
  { name: 'W4', title: 'readers behind slow links', run: slowLinks },
  { name: 'W5', title: 'readers that leave', run: leave },
  { name: 'W6', title: 'streams that are open, and idle', run: idle },
  { name: 'W7', title: 'live readers beside stalled ones', run: besideStalled },
  { name: 'W8', title: 'readers that are cut and come back', run: comeBack },
];

/** What one run found out. */
export interface Report {
  readonly machine: string;
  readonly placement: string;
  readonly workloads: readonly {
    readonly name: string;
    readonly title: string;
    readonly figures: readonly Figure[];
  }[];
}

/** Runs workloads one after the other, and hands on what each of them found. Says on stderr what it is doing. */
export async function measure(
  chosen: readonly Workload[],
  among: readonly System[],
  rounds: Rounds,
  onFigures: (workload: Workload, figures: Figures) => void = () => undefined,
): Promise<Report> {
  const placement = place();
  console.error(`Each system ${placement.description}.`);
  const measured: { name: string; title: string; figures: readonly Figure[] }[] = [];
  for (const workload of chosen) {
    const { name, title } = workload;
    console.error(`${name}: ${title}`);
    const figures = new Figures();
    await workload.run({ systems: among, placement, figures, rounds });
    onFigures(workload, figures);
    measured.push({ name, title, figures: figures.all() });
  }
  return { machine: machine(), placement: placement.description, workloads: measured };
}

/** Those that can take part on this machine. Says on stderr what the others want. */
export function presentSystems(): System[] {
  return systems.filter((system) => {
    const reason = system.missing?.();
    if (reason !== undefined) console.error(`Without ${system.name}: ${reason}.`);
    return reason === undefined;
  });
}

export const withoutPeers = systems.filter(({ name }) => name === spillway || name === yardstick);

function machine(): string {
  // Of the machine: this process itself is pinned to one of them.
  const cores = cpus();
  return `${cores.length} ${cores.length === 1 ? 'core' : 'cores'} of ${cores[0]?.model.trim()}, Linux ${release()}, Node ${process.versions.node}${versionsOfPeers()}`;
}

function versionsOfPeers(): string {
  const versions = ['nginx', 'haproxy'].map((program) => {
    try {
      const text = execFileSync('sh', ['-c', `${program} -v 2>&1`], { encoding: 'utf8' });
      return `, ${program} ${/\d+\.\d+(\.\d+)?/.exec(text)?.[0] ?? ''}`;
    } catch {
      return '';
    }
  });
  return versions.join('');
}
