import type { LogDestination } from './log-destination.ts';

/** How long the exit waits for those who read what was printed. */
const maxFlushMs = 200;

/**
 * Ends the process with that code, when what was printed is written, or after 200 ms: nobody who reads it can stop the exit.
 * Node's own exit waits for the threads of its pool, and one of them may be in a write to a disk that hangs, or ask a name
 * server that does not answer. Then the process becomes one that only exits, which ends them.
 */
export async function endProcess(code: number, printed: readonly LogDestination[]): Promise<never> {
  await Promise.all(printed.map((destination) => destination.flushed(maxFlushMs)));
  return endNow(code);
}

/** The same without a look at what was printed. */
export function endNow(code: number): never {
  const isPoolBusy = process
    .getActiveResourcesInfo()
    .some((name) => /^(?:FS|GetAddrInfo|GetNameInfo)Req/.test(name));
  if (isPoolBusy && process.platform !== 'win32') {
    const env = { ...process.env, NODE_OPTIONS: '' };
    process.execve?.(process.execPath, [process.execPath, '--eval', `process.exit(${code})`], env);
  }
  // oxlint-disable-next-line unicorn/no-process-exit
  process.exit(code);
}
