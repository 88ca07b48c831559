/**
 * V8 doubles its space for new objects under load, up to 64 MB, and keeps it: with 500 stalled readers that is 120 KiB for
 * each of them. A fourth of it costs no CPU that could be measured (docs/performance.md).
 */
const flag = '--max-semi-space-size=8';
/**
 * Blocks of 1 MiB and more, which large events and bodies are, go back to the system when they are freed. By itself glibc keeps more and
 * more of them, up to 32 MiB each, once one was freed.
 */
const allocator = { MALLOC_MMAP_THRESHOLD_: '1048576' };

/**
 * Begins this process again with a bound on V8's space for new objects and one on what the allocator keeps, which can be set only
 * before they start: the same process id and standard streams, a tenth of a second later. Does nothing where somebody has chosen a size,
 * in Node's arguments or in `NODE_OPTIONS`; where the system cannot (Windows); and where the parent talks to us through
 * Node's own channel, which would be lost.
 */
export function restartWithSmallNewSpace(): void {
  const { argv, channel, env, execArgv, execPath, platform } = process;
  const isChosen = [...execArgv, env['NODE_OPTIONS'] ?? ''].some((option) => /semi[-_]space/.test(option));
  if (isChosen || platform === 'win32' || channel !== undefined) return;
  process.execve?.(execPath, [execPath, flag, ...execArgv, ...argv.slice(1)], { ...allocator, ...env });
}
