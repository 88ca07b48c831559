import type { LimitStore } from '../limit/limit-store.ts';

/** An engine of limits as {@link limitRules} needs it: empty, and of the check's own. */
export interface LimitEngine {
  /** Opens another store on the same limits, as another process does. An earlier one may just fall silent. */
  open(): Promise<LimitStore> | LimitStore;
  /** Lets so many milliseconds pass for the engine: its clock is moved, or it waits. */
  pass(ms: number): Promise<void> | void;
  /** What `pass` can do at most; checks that need more are skipped. Default: 5000. */
  readonly maxPassMs?: number;
  /** The engine's date, in milliseconds since 1970. */
  dateMs(): Promise<number> | number;
  /** The deadline of a store's call, in milliseconds. Default: 2000. */
  readonly callDeadlineMs?: number;
  /**
   * Makes the engine fail until `heal`: a call that begins now rejects. Absent, with `heal`: the checks that need it are
   * skipped.
   */
  fail?(): Promise<void> | void;
  /** Makes the engine silent until `heal`: it takes calls and does not answer. Absent: as with `fail`. */
  hang?(): Promise<void> | void;
  /** Ends what `fail` or `hang` began. Resolves when stores can work again. */
  heal?(): Promise<void> | void;
  /** How much is kept, in whatever it is kept. 0: nothing. Absent: rule 12 is skipped. */
  keptCount?(): Promise<number> | number;
  /** Removes the engine, at the end of the check. Its stores are closed by then. */
  remove?(): Promise<void> | void;
}
