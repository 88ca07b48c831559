import type { SinkRecord } from '../sink-record.ts';
import type { RecordSink } from '../sink/record-sink.ts';

/** An engine as {@link sinkRules} needs it: empty, and of the check's own. */
export interface SinkEngine {
  /**
   * Opens a sink. Called again after a close, and also without one, as after a crash: the earlier sink is then not used
   * any more, but for a close at the end of the check. Where only one may be open, this closes the earlier one.
   */
  open(): Promise<RecordSink> | RecordSink;
  /** Returns what a reader of the engine finds now, in the order in which it finds them. No write is under way. */
  records(): Promise<readonly SinkRecord[]> | readonly SinkRecord[];
  /**
   * Makes the value of a record, for an engine that does not take any bytes, such as one of lines. `text` has quotes,
   * line ends, zeros and characters of several bytes. Default: bytes of any value, sometimes none.
   */
  value?(stream: string, seq: number, text: string): Uint8Array;
  /**
   * Makes the engine refuse that record for ever, whenever it is written, and take all others. Absent: the engine takes
   * every record, and the check of rule 10 is skipped.
   */
  refuse?(record: SinkRecord): Promise<void> | void;
  /**
   * Makes the engine fail until `heal`: a write that begins now rejects by itself, one that is under way may. Absent,
   * with `heal`: the checks that need it are skipped.
   */
  fail?(): Promise<void> | void;
  /** Makes the engine silent until `heal`: a write does not settle by itself. Absent: as with `fail`. */
  hang?(): Promise<void> | void;
  /** Ends what `fail` or `hang` began. */
  heal?(): Promise<void> | void;
  /** `false`: a sink cannot know what an earlier one has written, as on a pipe. Checks with a restart are skipped. */
  readonly remembers?: boolean;
  /** The files, connections and threads that sinks have open now. Absent: that half of rule 7 is skipped. */
  openCount?(): Promise<number> | number;
  /** Removes the engine, at the end of the check. Its sinks are closed by then. */
  remove?(): Promise<void> | void;
}
