import { type ErrorCode, SpillwayError } from '@spillway/core';

/** What SQLite's numbers of errors mean for who has an audit log, and what to do. */
const words: Readonly<Record<number, readonly [code: ErrorCode, text: string]>> = {
  5: ['sink_failed', 'is locked by another program for too long. Try again when that has finished.'],
  8: ['sink_failed', 'cannot be written to. Mend the rights of the file and of its folder.'],
  10: [
    'sink_failed',
    'cannot be read or written: the disk fails, or somebody has cut the file. Look into the log of the system, and take a copy of it and of its "-wal" before anything else.',
  ],
  11: [
    'sink_failed',
    'is damaged. "spillway audit verify" says where; take a copy of it and of its "-wal" before anything else.',
  ],
  13: ['sink_failed', 'has no room: the disk is full. Make room.'],
  14: [
    'sink_failed',
    'cannot be opened. Mend the rights of the file and of its folder, where "-wal" and "-shm" belong.',
  ],
};

/** SQLite's number for a file that is no database. */
const notADatabase = 26;

/** What SQLite says of a file, as the user would; any other error as it is. */
export function inWords(error: unknown, path: string): unknown {
  if (!(error instanceof Error && 'errcode' in error && typeof error.errcode === 'number')) return error;
  // The upper bits say more than a user wants to know.
  const number = error.errcode & 0xff;
  if (number === notADatabase)
    return new SpillwayError(
      'invalid_option',
      `${path}: expected an audit log, got a file that is no database`,
      { cause: error },
    );
  const found = words[number];
  if (found === undefined) return error;
  const [code, text] = found;
  return new SpillwayError(code, `${path} ${text} (SQLite: ${error.message})`, { cause: error });
}
