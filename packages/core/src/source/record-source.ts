import type { SinkRecord } from '../sink-record.ts';

/**
 * Stands among the records of a source where some are missing, so that no loss is silent: they were removed before they
 * were read, or cannot be given any more.
 */
export class RecordGap {
  /** The place of the first missing record, as its engine numbers places. */
  readonly from: string;
  /** The place of the last missing one. The same as `from`: it is one place. */
  readonly to: string;
  /** How many records are missing at most; `undefined`: the engine cannot tell. */
  readonly maxRecords: number | undefined;
  /** Why, as the engine says it: one word or a few, such as `removed`. */
  readonly reason: string;

  constructor(from: string, to: string, maxRecords: number | undefined, reason: string) {
    this.from = from;
    this.to = to;
    this.maxRecords = maxRecords;
    this.reason = reason;
  }
}

/** What a source gives: a record, or a gap where some are missing. */
export type SourceItem = RecordGap | SinkRecord;

/** How much one read gives at most. */
export interface ReadLimits {
  /** Records and gaps: 1 to 10,000. */
  readonly maxItems: number;
  /** The values of the records together, in bytes: 1 or more. One record that is larger comes alone. Default: 1 MiB. */
  readonly maxBytes?: number;
}

/** How far a source is behind: what its engine keeps and the source has not acknowledged. */
export interface SourceLag {
  /** How many records. An engine that cannot tell exactly says how many at most. 0: none. */
  readonly records: number;
  /** Their values in bytes; `undefined`: the engine cannot tell without reading them. */
  readonly bytes: number | undefined;
  /** How long ago the oldest of them was made or written, in milliseconds. 0: there is none. */
  readonly ms: number;
}

/**
 * The end of an engine that records come out of, for one program that reads at its own pace. A source has a name. Its
 * place, up to where it has acknowledged, belongs to the name and stays with the engine: the next source of that name goes
 * on from there. The rules have numbers; `sourceRules` of `@spillway/core/testing` proves each of them for a source.
 *
 * Nothing is read ahead: what is under way is what the caller has asked for and not acknowledged. The caller has at most
 * one read and one acknowledgement under way, and one source of a name open. Of two, each may give the same records.
 */
export interface RecordSource {
  /**
   * Reads on. (1) Gives what is there, at least one item, and never more than the limits say; while nothing is there it
   * waits. (2) While this source lives it gives each record that its engine keeps once, equal to what was written, and
   * those of a stream in order; a name that is new begins with the oldest. (3) Where records were removed before they
   * were read there is a gap, before what is behind them.
   */
  read(limits: ReadLimits, signal: AbortSignal): Promise<readonly SourceItem[]>;
  /**
   * Says that items are done with: the very objects that `read` gave, without leaving any out; others are refused with
   * `invalid_option`. (4) Resolved means that no later source of this name gives them, also after a crash. To acknowledge
   * again is harmless, and an empty list resolves. (5) What was read and not acknowledged comes again from a later source
   * of this name, also after a crash. Rejected means unknown: acknowledge again. Sources of other names do not notice.
   */
  acknowledge(items: readonly SourceItem[], signal: AbortSignal): Promise<void>;
  /** (6) Says how much is kept and not acknowledged, whether it was read or not. */
  lag(signal: AbortSignal): Promise<SourceLag>;
  /**
   * Closes the source. (9) A read that waits rejects with `source_closed`; resolves when all that the source has opened is
   * released. (10) Later calls reject with `source_closed`. (11) Safe to call twice.
   *
   * For all three calls above: (7) While the engine fails they reject with `source_failed`. They work again when it does,
   * without a restart, and nothing is lost. (8) When the signal is aborted they reject with its reason, whatever the engine
   * does; what an aborted read would have given comes with the next one.
   */
  close(): Promise<void>;
}
