/**
 * V8 doubles its space for new objects under load, up to 64 MB, and keeps it: with 500 stalled readers that is 120 KiB for
 * each of them. A fourth of it costs no CPU that could be measured (docs/performance.md).
 */
const flag = '--max-semi-space-size=8';

/**
 * Begins this process again with a bound on V8's space for new objects, which can be set only before V8 starts: the same
 * process id, standard streams and environment, a tenth of a second later. Does nothing where somebody has chosen a size,
 * in Node's arguments or in `NODE_OPTIONS`; where the system cannot (Windows); and where the parent talks to us through
 * Node's own channel, which would be lost.
 */
export function restartWithSmallNewSpace(): void {
  const { argv, channel, env, execArgv, execPath, platform } = process;
  const isChosen = [...execArgv, env['NODE_OPTIONS'] ?? ''].some((option) => /semi[-_]space/.test(option));
  if (isChosen || platform === 'win32' || channel !== undefined) return;
  process.execve?.(execPath, [execPath, flag, ...execArgv, ...argv.slice(1)], env);
}
