import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** This process in one line: the machine since its start, its numbering of processes, the process, and its start. */
export function ownProcess(): string {
  return `${place()} ${process.pid} ${startOf(process.pid) ?? ''}`;
}

/** Whether a process lives. `undefined`: that cannot be told from here, as of another machine or container. */
export function isAlive(mark: string): boolean | undefined {
  const [where, pid, start] = mark.split(' ');
  if (where !== place() || pid === undefined) return undefined;
  if (process.platform === 'linux') return startOf(Number(pid)) === start;
  try {
    return process.kill(Number(pid), 0);
  } catch (error) {
    // It is somebody else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Where a number of a process means something. */
function place(): string {
  if (process.platform !== 'linux') return hostname();
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return `${boot}/${readlinkSync('/proc/self/ns/pid')}`;
}

/** When a process started, in ticks of the kernel: numbers of processes are used again. `undefined`: there is none. */
function startOf(pid: number): string | undefined {
  if (process.platform !== 'linux') return '';
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program, in parentheses, may have anything in it. A zombie writes nothing any more.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : fields[18];
  } catch {
    return undefined;
  }
}
