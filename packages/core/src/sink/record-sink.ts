import type { SinkRecord } from '../sink-record.ts';

/**
 * How well an engine keeps what it has acknowledged. `memory`: until its process or machine ends. `replicated`: in the
 * memory of several machines. `fsync`: on a disk, also after a power failure.
 */
export type Durability = 'fsync' | 'memory' | 'replicated';

/**
 * The end of an engine that records go into. The rules have numbers; `sinkRules` of `@spillway/core/testing` proves each
 * of them for a sink.
 *
 * The caller has at most one write under way, and writes the records of a stream in order.
 */
export interface RecordSink {
  /** What a resolved write is worth. */
  readonly durability: Durability;
  /**
   * Writes records. (1) Resolved means kept, to the grade of `durability`: whoever reads the engine from then on finds
   * each record once, equal to the given one, and those of a stream in order. (2) Rejected means unknown: all, some or
   * none of the records may be kept. (3) Writing records again that are kept already adds nothing and resolves; this
   * holds too for those of an earlier sink of the same engine, as after a crash. (4) A sink that has rejected works again
   * when its engine does: it needs no restart, and it never resolves for records that are not kept. (5) An empty list
   * resolves. (10) An engine that will never take some of the records takes the others, and the write rejects with
   * `records_refused` (`RefusedRecords` of `@spillway/core/engine`), which names these. Sinks of Spillway reject a record whose
   * id or value is none, with `invalid_option` and before anything is written. (6) When the signal is aborted, the write rejects, whatever the engine does, with the signal's reason.
   */
  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void>;
  /**
   * Closes the sink. (7) Resolves when the write under way is settled and all that the sink has opened is released.
   * (8) A later write rejects with `sink_closed`. (9) Safe to call twice.
   */
  close(): Promise<void>;
}
