import type { LogDestination } from './log-destination.ts';

/** How long the exit waits for printed bytes to be written. */
const maxFlushMs = 200;

/**
 * Ends the process with that code when everything printed is written, or after 200 ms: a slow reader of the
 * output cannot stop the exit. Node's own exit waits for the threads of its pool. One of them may be writing
 * to a disk that hangs, or asking a name server that does not answer. So the process is replaced by one that
 * only exits, which ends these threads.
 */
export async function endProcess(code: number, printed: readonly LogDestination[]): Promise<never> {
  await Promise.all(printed.map((destination) => destination.flushed(maxFlushMs)));
  return endNow(code);
}

/** Ends the process at once, without waiting for printed bytes. */
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
