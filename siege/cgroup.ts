import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A bound on the memory of a process and of what the kernel keeps for it. */
export interface Cgroup {
  /** The file that a process writes its id to, in order to be bounded. */
  readonly processesFile: string;
  /** How often the kernel ended a process at the bound. */
  readonly outOfMemoryKills: () => number;
  /** Removes it; every process in it has to be gone. */
  readonly remove: () => void;
}

/** Where version 1 and version 2 of the kernel's interface are mounted, each with the names of its files. */
const versions = [
  {
    root: '/sys/fs/cgroup/memory',
    marker: 'memory.limit_in_bytes',
    limits: ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'],
    events: 'memory.oom_control',
  },
  {
    root: '/sys/fs/cgroup',
    marker: 'cgroup.controllers',
    limits: ['memory.max', 'memory.swap.max'],
    events: 'memory.events',
  },
] as const;

/**
 * Makes a cgroup that may hold so many bytes, swap included. Linux, as root or where the folder is this user's.
 *
 * @returns `undefined` where none can be had.
 */
export function openCgroup(maxBytes: number): Cgroup | undefined {
  for (const { events, limits, marker, root } of versions) {
    if (!existsSync(join(root, marker))) continue;
    const folder = join(root, `spillway-siege-${process.pid}`);
    try {
      if (marker === 'cgroup.controllers') writeFileSync(join(root, 'cgroup.subtree_control'), '+memory');
      mkdirSync(folder);
    } catch {
      continue;
    }
    const [memory, swap] = limits;
    try {
      writeFileSync(join(folder, memory), `${maxBytes}`);
    } catch {
      rmdirSync(folder);
      continue;
    }
    try {
      // The first version bounds both together, the second swap alone. Kernels without swap have neither file.
      writeFileSync(join(folder, swap), marker === 'cgroup.controllers' ? '0' : `${maxBytes}`);
    } catch {
      // Then there is nothing to bound.
    }
    return {
      processesFile: join(folder, 'cgroup.procs'),
      outOfMemoryKills: () =>
        Number(/^oom_kill (\d+)/m.exec(readFileSync(join(folder, events), 'utf8'))?.[1] ?? 0),
      remove: () => rmdirSync(folder),
    };
  }
  return undefined;
}
