/**
 * V8 doubles its space for new objects under load, up to 64 MB, and keeps it: with 500 stalled readers, 120
 * KiB for each. A fourth of that costs no measurable CPU (docs/performance.md).
 */
const flag = '--max-semi-space-size=8';
/**
 * Blocks of 1 MiB and more (large events and bodies) go back to the system when they are freed. By default
 * glibc raises this threshold whenever a larger block is freed, up to 32 MiB, and keeps the blocks below it.
 */
const allocator = { MALLOC_MMAP_THRESHOLD_: '1048576' };

/**
 * Restarts this process with bounds on V8's space for new objects and on the memory that the allocator keeps.
 * Both can be set only at the start. The process id and the standard streams stay the same, and it takes a
 * tenth of a second. Does nothing if a size is set already, in Node's arguments or in `NODE_OPTIONS`; if the
 * system cannot do it (Windows); or if the parent uses Node's own channel, which would be lost.
 */
export function restartWithSmallNewSpace(): void {
  const { argv, channel, env, execArgv, execPath, platform } = process;
  const isChosen = [...execArgv, env['NODE_OPTIONS'] ?? ''].some((option) => /semi[-_]space/.test(option));
  if (isChosen || platform === 'win32' || channel !== undefined) return;
  process.execve?.(execPath, [execPath, flag, ...execArgv, ...argv.slice(1)], { ...allocator, ...env });
}
