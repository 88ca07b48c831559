import type { ExitCode } from './exit-codes.ts';

/** Ends the process with the reason on stderr, each line of it for itself. */
export function fail(code: ExitCode, message: string): never {
  process.stderr.write(`spillway: ${message.replaceAll('\n', '\nspillway: ')}\n`);
  process.exit(code);
}
