import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Microseconds of CPU that a process and its children have used so far. Linux. */
export function cpuUsOf(pid: number): number {
  let nanoseconds = 0;
  for (const process of withChildren(pid)) {
    for (const thread of readdirSync(`/proc/${process}/task`)) {
      // Of the scheduler: nanoseconds, where `stat` counts ticks of ten milliseconds.
      nanoseconds += Number(readIfThere(`/proc/${process}/task/${thread}/schedstat`).split(' ')[0]);
    }
  }
  return nanoseconds / 1000;
}

/** Microseconds that cores have worked so far, for whomever. Linux. */
export function busyUsOf(cores: readonly number[]): number {
  return ticksUsOf(
    cores,
    ([user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0]) =>
      user + nice + system + irq + softirq + steal,
  );
}

/** Microseconds for which a virtual machine's host has not run cores that had work to do. Linux. */
export function stolenUsOf(cores: readonly number[]): number {
  return ticksUsOf(cores, ([, , , , , , , steal = 0]) => steal);
}

function ticksUsOf(cores: readonly number[], count: (parts: readonly number[]) => number): number {
  const stat = readIfThere('/proc/stat');
  let ticks = 0;
  for (const core of cores) {
    const parts = new RegExp(`^cpu${core} (.*)$`, 'm').exec(stat)?.[1] ?? '';
    ticks += count(parts.split(' ').map(Number));
  }
  return ticks * 10_000;
}

/** Bytes of memory that a process and its children hold now, what is shared divided among them. Linux. */
export function memoryOf(pid: number): number {
  let kilobytes = 0;
  for (const process of withChildren(pid)) {
    kilobytes += Number(/^Pss:\s+(\d+)/m.exec(readIfThere(`/proc/${process}/smaps_rollup`))?.[1] ?? 0);
  }
  return kilobytes * 1024;
}

/**
 * Bytes that the kernel holds for a system's own ends of its connections: what waits to be read from the provider, and
 * what readers have not taken. `undefined` without `ss`.
 */
export function socketMemoryOf(systemUrl: string, providerUrl: string): number | undefined {
  const filter = `sport = :${new URL(systemUrl).port} or dport = :${new URL(providerUrl).port}`;
  try {
    const text = execFileSync('ss', ['-tmnH', filter], { encoding: 'utf8', maxBuffer: 1 << 28 });
    let bytes = 0;
    for (const [, read = '', write = ''] of text.matchAll(/skmem:\(r(\d+),.*?,w(\d+)/g)) {
      bytes += Number(read) + Number(write);
    }
    return bytes;
  } catch {
    return undefined;
  }
}

/** Whether all sockets together hold so much that the kernel shrinks what each may hold. Linux. */
export function isTcpMemoryShort(): boolean {
  const pages = Number(/^TCP: .* mem (\d+)/m.exec(readIfThere('/proc/net/sockstat'))?.[1]);
  const [, pressure] = readIfThere('/proc/sys/net/ipv4/tcp_mem').trim().split(/\s+/);
  return pages > 0.95 * Number(pressure);
}

function withChildren(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readIfThere(`/proc/${name}/stat`);
    // Behind the program's name, which may hold anything.
    parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const found = [pid];
  for (const parent of found) {
    for (const [child, of] of parents) if (of === parent) found.push(child);
  }
  return found;
}

/** Empty for what has just ended. */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
