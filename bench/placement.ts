import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Which core measures, and which is measured. */
export interface Placement {
  /** What to put in front of a command, so that it runs there. Empty where nothing can be pinned. */
  readonly system: readonly string[];
  readonly load: readonly string[];
  /** The cores of both. Empty where nothing is pinned. */
  readonly cores: readonly number[];
  /** For whoever reads the figures. */
  readonly description: string;
}

/**
 * Gives a core to the system under test and another one to everything else, this process included. Without `taskset` or
 * a second core nothing is pinned, and the description says so: the figures are then worth less.
 */
export function place(): Placement {
  // Once: then this process itself is on one core, and would take it for all that there are.
  placed ??= findPlaces();
  return placed;
}

let placed: Placement | undefined;

function findPlaces(): Placement {
  const [systemCore, loadCore] = allowedCores();
  if (systemCore === undefined || loadCore === undefined) {
    return unpinned('on one core with what measures it: do not trust latencies');
  }
  try {
    execFileSync('taskset', ['-acp', `${loadCore}`, `${process.pid}`], { stdio: 'pipe' });
  } catch {
    return unpinned('not pinned, as there is no taskset: doubt the latencies');
  }
  return {
    system: ['taskset', '-c', `${systemCore}`],
    load: ['taskset', '-c', `${loadCore}`],
    cores: [systemCore, loadCore],
    description: `on core ${systemCore}, the load on core ${loadCore}`,
  };
}

function unpinned(description: string): Placement {
  return { system: [], load: [], cores: [], description };
}

function allowedCores(): number[] {
  const list = /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}
