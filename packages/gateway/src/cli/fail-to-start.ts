import { ConfigError } from '../config/config-error.ts';
import { ListenFailure } from '../server/listen-at.ts';
import { exitCodes } from './exit-codes.ts';
import { fail } from './fail.ts';

interface ListenError extends NodeJS.ErrnoException {
  readonly address?: string;
  readonly port?: number;
}

/** Ends the process with the reason why it cannot start, and the flag that chooses another port. */
export function failToStart(error: unknown): never {
  if (error instanceof ConfigError) fail(exitCodes.config, error.message);
  const isAdmin = error instanceof ListenFailure && error.setting === 'adminPort';
  const cause = error instanceof ListenFailure ? error.cause : error;
  const { address, code, message, port, syscall } = cause as ListenError;
  if (code === 'EADDRINUSE') {
    const flag = isAdmin ? '--admin-port' : '--port';
    const where = `${address}:${port} is in use`;
    fail(exitCodes.tryLater, `${where}: choose another with ${flag} (0 takes a free one)`);
  }
  // Of an address that is none, that belongs to another machine, or that needs more rights.
  if (syscall === 'listen' || syscall === 'getaddrinfo' || code === 'ERR_INVALID_ARG_VALUE') {
    const flags = isAdmin ? '--admin-host, --admin-port' : '--host, --port';
    fail(exitCodes.config, `cannot listen (${flags}): ${message}`);
  }
  throw cause;
}
