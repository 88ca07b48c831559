import { readdir, unlink } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';

/** The old files beside a file: `audit-2026-11-28T01-02-03.123Z.jsonl` beside `audit.jsonl`. */
export class RotatedFiles {
  readonly #folder: string;
  readonly #start: string;
  readonly #end: string;

  constructor(path: string) {
    this.#folder = dirname(path);
    this.#end = extname(path);
    this.#start = `${basename(path, this.#end)}-`;
  }

  /** The paths of all old files, the oldest first. */
  async list(): Promise<string[]> {
    const names = await readdir(this.#folder);
    return names
      .filter((name) => this.#dateMs(name) !== undefined)
      .toSorted()
      .map((name) => join(this.#folder, name));
  }

  /** A path behind those of all old files, so that it is nobody's, also after the system's time was set back. */
  async next(dateMs: number): Promise<string> {
    const newest = (await this.list()).at(-1);
    const newestMs = newest === undefined ? undefined : this.#dateMs(basename(newest));
    const date = fileDate(Math.max(dateMs, (newestMs ?? -1) + 1));
    return join(this.#folder, `${this.#start}${date}${this.#end}`);
  }

  /** Deletes the oldest, so that so many are left. */
  async prune(maxFiles: number): Promise<void> {
    const paths = await this.list();
    for (const path of paths.slice(0, Math.max(0, paths.length - maxFiles))) await unlink(path);
  }

  /** The date in a name, in milliseconds since 1970; `undefined`: another file's name. */
  #dateMs(name: string): number | undefined {
    if (!name.startsWith(this.#start) || !name.endsWith(this.#end)) return undefined;
    const date = name.slice(this.#start.length, name.length - this.#end.length);
    const match = /^(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\d\.\d{3}Z)$/.exec(date);
    if (match === null) return undefined;
    // oxlint-disable-next-line no-restricted-globals -- It reads a date, and not the time.
    const ms = Date.parse(`${match[1]}:${match[2]}:${match[3]}`);
    return Number.isNaN(ms) ? undefined : ms;
  }
}

/** A date for the name of a file: without colons, which not every system allows. */
function fileDate(dateMs: number): string {
  // oxlint-disable-next-line no-restricted-globals -- It writes a date, and does not ask for the time.
  return new Date(dateMs).toISOString().replaceAll(':', '-');
}
