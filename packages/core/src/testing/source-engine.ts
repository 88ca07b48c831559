import type { SinkRecord } from '../sink-record.ts';
import type { RecordSource } from '../source/record-source.ts';

/** An engine as {@link sourceRules} needs it: empty, and of the check's own. */
export interface SourceEngine {
  /**
   * Opens the source of a name. Called again after a close, and also without one, as after a crash: the earlier source of
   * that name is then not used any more, but for a close at the end of the check. Where only one may be open, this closes
   * the earlier one. Names have letters and digits.
   */
  open(name: string): Promise<RecordSource> | RecordSource;
  /** Writes records, as whoever fills the engine does: a source finds them from then on. The engine is well. */
  write(records: readonly SinkRecord[]): Promise<void> | void;
  /**
   * Makes the value of a record, for an engine that does not take any bytes. `text` has quotes, line ends, zeros and
   * characters of several bytes. Default: bytes of any value, sometimes none.
   */
  value?(stream: string, seq: number, text: string): Uint8Array;
  /** Removes the oldest so many records from the engine, read or not. Absent: the checks of gaps are skipped. */
  trim?(count: number): Promise<void> | void;
  /**
   * Makes the engine fail until `heal`: a call that begins now rejects by itself, a read that waits may. Absent, with
   * `heal`: the checks that need it are skipped.
   */
  fail?(): Promise<void> | void;
  /** Makes the engine silent until `heal`: no call settles by itself. Absent: as with `fail`. */
  hang?(): Promise<void> | void;
  /** Ends what `fail` or `hang` began. */
  heal?(): Promise<void> | void;
  /** The files, connections and threads that sources have open now. Absent: that half of rule 9 is skipped. */
  openCount?(): Promise<number> | number;
  /** Removes the engine, at the end of the check. Its sources are closed by then. */
  remove?(): Promise<void> | void;
}
