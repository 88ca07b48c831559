/** One record of an engine. `stream` and `seq` together are its id: no two records have the same. */
export interface SinkRecord {
  /** The stream that the record belongs to. At most 128 characters of `A-Z a-z 0-9 _ -`. */
  readonly stream: string;
  /** The record's number in its stream: 0, 1, 2, … without holes. */
  readonly seq: number;
  /** The record itself, opaque to sinks and sources. May be empty. Must not be changed afterwards. */
  readonly value: Uint8Array;
}
