import { realpathSync, statSync, unlinkSync } from 'node:fs';
import { SpillwayError } from '@spillway/core';

/** What lies beside a database while it is open: SQLite finds it by the name of the database, and by nothing else. */
const companions = ['-wal', '-shm'] as const;

/**
 * The file of an open log: it is known by what it is, and not by its name, which somebody else may take from it. What SQLite
 * writes then goes on into the old file, and its write-ahead log waits under the old name for whoever takes that next.
 */
export class LogFile {
  readonly #path: string;
  readonly #realPath: string;
  readonly #identity: string | undefined;
  #companions: ReadonlyMap<string, string | undefined> = new Map();

  /** The file has to be there. */
  constructor(path: string) {
    this.#path = path;
    this.#realPath = realpathSync(path);
    this.#identity = identityOf(path);
  }

  /** Sees which files lie beside the log. Call it when the log is open. */
  seeCompanions(): void {
    this.#companions = new Map(
      companions.map((end) => [this.#realPath + end, identityOf(this.#realPath + end)]),
    );
  }

  /** Whether the name still means this file. */
  get isInPlace(): boolean {
    return identityOf(this.#path) === this.#identity;
  }

  /** @throws {SpillwayError} `sink_failed` if the name means another file, or none. */
  expectInPlace(): void {
    if (this.isInPlace) return;
    throw new SpillwayError(
      'sink_failed',
      `${this.#path} was moved, replaced or removed while it was written to. What was kept is in the file that had this name; the next write begins another one.`,
    );
  }

  /**
   * Frees the name for another log, when this one has lost it and its write-ahead log is empty: what still lies beside the
   * name would be taken for the new one's.
   */
  freeName(): void {
    for (const [path, identity] of this.#companions)
      if (identity !== undefined && identityOf(path) === identity) unlinkSync(path);
  }
}

/**
 * Sees that no write-ahead log waits for a log that is not there: SQLite would throw it away, and with it what was kept.
 *
 * @throws {SpillwayError} `sink_failed` if one does.
 */
export function expectNoOrphan(path: string): void {
  if (sizeOf(path) > 0) return;
  const orphan = `${path}-wal`;
  const bytes = sizeOf(orphan);
  if (bytes === 0) return;
  throw new SpillwayError(
    'sink_failed',
    `${path} is not there, but ${orphan} has ${bytes} bytes of it: the log was moved or removed without it. Move the log back, or give ${orphan} the name that the log has now, with "-wal" behind it.`,
  );
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** `undefined`: there is none, or nobody can tell. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}
