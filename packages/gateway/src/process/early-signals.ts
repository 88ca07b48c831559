/**
 * Ignores the signals that would end the process, or open Node's debugger (SIGUSR1), before the program is ready
 * for them. SIGHUP gets its meaning when a gateway runs: see `cli/signals.ts`. Windows has none of these.
 */
export function ignoreEarlySignals(): void {
  for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) process.on(signal, ignore);
}

function ignore(): void {
  // A listener is needed: without one, Node does what the signal does by default.
}
