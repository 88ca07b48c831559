import { readdirSync, readFileSync } from 'node:fs';

const pause = new Int32Array(new SharedArrayBuffer(4));
const maxPauses = 10_000;

/**
 * Stops a process until it gets SIGCONT, and returns when it stands still: what its threads are at when the signal comes they
 * still do, such as an answer. One that has ended stands still. For Linux; elsewhere it does not wait.
 */
export function stopProcess(pid: number | undefined): void {
  if (pid === undefined) throw new TypeError('expected a process that has started');
  try {
    process.kill(pid, 'SIGSTOP');
  } catch {
    return;
  }
  for (let count = 0; process.platform === 'linux' && statesOf(pid).some(isAtWork); count += 1) {
    if (count === maxPauses) throw new Error(`waited ${maxPauses} ms for the process ${pid} to stop`);
    Atomics.wait(pause, 0, 0, 1);
  }
}

/** Of each thread, as the kernel writes it. */
function statesOf(pid: number): string[] {
  try {
    const folder = `/proc/${pid}/task`;
    const stats = readdirSync(folder).map((thread) => readFileSync(`${folder}/${thread}/stat`, 'utf8'));
    // The state stands behind the name, which may have anything in it.
    return stats.map((stat) => stat.charAt(stat.lastIndexOf(')') + 2));
  } catch {
    // A thread has ended meanwhile, or all have.
    return isThere(pid) ? ['R'] : [];
  }
}

function isAtWork(state: string): boolean {
  return !['T', 't', 'X', 'Z'].includes(state);
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
