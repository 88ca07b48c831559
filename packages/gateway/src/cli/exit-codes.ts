/**
 * The exit codes of the command, after BSD's `sysexits.h` where that has one. docs/operating.md lists them. A
 * code that is given once keeps its meaning: units and scripts compare it.
 */
export const exitCodes = {
  /** Everything was done, or a signal ended the command in order. */
  done: 0,
  /** A defect ended the gateway, or `check`, `audit verify` or `call` found something that is wrong, or `reload` reached no gateway. */
  failed: 1,
  /** The command line has an unknown command, option or argument. */
  usage: 2,
  /** A file that the command was to read is not there, or is something else (EX_NOINPUT). */
  noInput: 66,
  /** The log has no such stream or person, or there is no such key (EX_NOUSER). */
  notFound: 67,
  /** Node is too old. `bin/spillway.js` has this number itself, because it must load nothing. */
  unavailable: 69,
  /** Another process has the port, or a store of keys is away or busy: the same command may succeed later (EX_TEMPFAIL). */
  tryLater: 75,
  /** The configuration, or a file of keys, is invalid: the same start or change never succeeds (EX_CONFIG). */
  config: 78,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];
