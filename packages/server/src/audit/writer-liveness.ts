import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { rowOf } from './audit-database.ts';
import { isAlive } from './process-mark.ts';

/** Tells which writers of a log are at work. What it found once stays found: ask a new one later. */
export class WriterLiveness {
  readonly #last: StatementSync;
  readonly #writer: StatementSync;
  readonly #newest: StatementSync;
  readonly #known = new Map<number, boolean>();

  constructor(db: DatabaseSync) {
    this.#last = db.prepare('SELECT kind FROM records WHERE writer = ? ORDER BY n DESC LIMIT 1');
    this.#writer = db.prepare('SELECT node, process FROM writers WHERE id = ?');
    this.#newest = db.prepare('SELECT process FROM writers WHERE node = ? ORDER BY id DESC LIMIT 1');
  }

  /**
   * Whether a writer may still write. Of a process on another machine, or in another container, that cannot be seen: it
   * is taken for alive until its node has started again.
   */
  isWriting(writer: number): boolean {
    let verdict = this.#known.get(writer);
    if (verdict === undefined) this.#known.set(writer, (verdict = this.#look(writer)));
    return verdict;
  }

  #look(writer: number): boolean {
    const found = this.#writer.get(writer);
    if (found === undefined || this.#last.get(writer)?.['kind'] === 'close') return false;
    const { node, process } = rowOf<{ node: string; process: string }>(found);
    return isAlive(process) ?? this.#newest.get(node)?.['process'] === process;
  }
}
