/**
 * What is wrong with a log. `missing`, `changed`, `added`, `reordered`: a record is. `index`: what the log's index says of a
 * stream is not what its records say. `head`: the log is older than a head, or was written anew since. `file`: the file
 * itself is damaged.
 */
export type AuditProblemKind = 'added' | 'changed' | 'file' | 'head' | 'index' | 'missing' | 'reordered';

/** One thing that is wrong, and where. */
export interface AuditProblem {
  readonly kind: AuditProblemKind;
  /** For people: what is wrong. Says nothing of what a record has in it. */
  readonly message: string;
  readonly writer?: number;
  readonly n?: number;
  readonly stream?: string;
  readonly seq?: number;
}

/** So many problems are told; of more there is the number. */
const maxProblems = 100;

/** Problems as they are found, with a bound. */
export class AuditProblems {
  readonly #told: AuditProblem[] = [];
  #count = 0;

  add(problem: AuditProblem): void {
    this.#count += 1;
    if (this.#told.length < maxProblems) this.#told.push(problem);
  }

  get told(): readonly AuditProblem[] {
    return this.#told;
  }

  /** All that were found, those that are not told included. */
  get count(): number {
    return this.#count;
  }
}
