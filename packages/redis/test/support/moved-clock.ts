import { spawnSync } from 'node:child_process';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** The date of programs, moved. Where there is no C compiler it stands still, and `isMovable` says so. */
export class MovedClock {
  readonly isMovable: boolean;
  /** What a program's environment needs to have this date. */
  readonly env: Readonly<Record<string, string>>;
  readonly #path: string;
  #offsetMs = 0;

  /** @param folder an empty one of its own. */
  constructor(folder: string) {
    this.#path = join(folder, 'offset');
    writeFileSync(this.#path, new BigInt64Array([0n]));
    const library = join(folder, 'moved-clock.so');
    const source = join(import.meta.dirname, 'moved-clock.c');
    this.isMovable = spawnSync('cc', ['-O1', '-shared', '-fPIC', '-o', library, source]).status === 0;
    this.env = this.isMovable ? { LD_PRELOAD: library, CLOCK_OFFSET: this.#path } : {};
  }

  /** Moves the date, while programs run. */
  move(ms: number): void {
    this.#offsetMs += ms;
    const file = openSync(this.#path, 'r+');
    writeSync(file, new BigInt64Array([BigInt(Math.round(this.#offsetMs)) * 1000n]));
    closeSync(file);
  }
}
