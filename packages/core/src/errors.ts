/**
 * The stable codes of every error that Spillway raises. A code never changes its meaning; the message may.
 *
 * - `invalid_option`: an option is missing, of the wrong type or out of its range.
 * - `invalid_chunk`: a chunk is `undefined`, the value with which a reader says that nothing waits.
 * - `write_pending`: `write` was called while an earlier `write` still waits. Await each write, or `block` would be an
 *   unbounded queue in disguise.
 * - `bad_grant`: a grant of credit that is no amount, or more than the window's maximum.
 * - `channel_closed`: a write came after the channel had ended.
 * - `channel_cancelled`: the channel was cancelled without a reason (a reason is thrown as it is); the waiting chunks
 *   were discarded.
 * - `history_gone`: a reader asked for an offset that the channel does not have any more.
 * - `reader_disconnected`: a reader with the policy `disconnect` fell behind by more than its bound.
 * - `reader_overflow`: a reader with the policy `error` fell behind by more than its bound.
 * - `store_failed`: the store of a reader that spills failed; the cause says how.
 * - `store_full`, `store_sealed`, `out_of_order`: a store refuses an append, because it is full, sealed, or the offsets
 *   do not ascend.
 * - `merge_under_way`: `skip` was called by a channel's `merge`, or by `weigh` or `durationMs` for a merged chunk.
 * - `event_too_large`: one event of a stream is larger than the limit.
 * - `limits_closed`: a call came after a store of limits was closed, or waited when it was.
 * - `limits_failed`: the engine of a store of limits failed, or is not there; the cause says how.
 * - `records_refused`: an engine will never take some records of a write; the error says which and why.
 * - `sink_closed`: a write came after a sink was closed.
 * - `sink_failed`: the engine of a sink failed, or is not there; the cause says how.
 * - `source_closed`: a call came after a source of records was closed, or a read waited when it was.
 * - `source_cut`: the WebSocket of a source was closed before the end of its messages.
 * - `source_failed`: the WebSocket or the engine of a source failed, or is not there; the cause says how.
 * - `source_overflow`: a WebSocket delivered more messages than may wait, although it was paused.
 * - `text_failed`: a text that several processes change could not be read or replaced; the message says why.
 * - `text_unknown`: whether such a text was replaced is not known: it was sent, and no answer came.
 * - `invalid_run`: bytes are no encoded run of events, such as bytes that were cut short.
 * - `unsupported_run`: an encoded run of events is of another version or of another format than was expected.
 */
export type ErrorCode =
  | 'bad_grant'
  | 'channel_cancelled'
  | 'channel_closed'
  | 'event_too_large'
  | 'history_gone'
  | 'invalid_chunk'
  | 'invalid_option'
  | 'invalid_run'
  | 'limits_closed'
  | 'limits_failed'
  | 'merge_under_way'
  | 'out_of_order'
  | 'reader_disconnected'
  | 'reader_overflow'
  | 'records_refused'
  | 'sink_closed'
  | 'sink_failed'
  | 'source_closed'
  | 'source_cut'
  | 'source_failed'
  | 'source_overflow'
  | 'store_failed'
  | 'store_full'
  | 'store_sealed'
  | 'text_failed'
  | 'text_unknown'
  | 'unsupported_run'
  | 'write_pending';

/**
 * The error class of Spillway. Decide by `code`; the message is for people: what happened, the limit, what came, and
 * what to do.
 *
 * @example
 * ```ts
 * try {
 *   await channel.write(chunk);
 * } catch (error) {
 *   if (error instanceof SpillwayError && error.code === 'channel_closed') return;
 *   throw error;
 * }
 * ```
 */
export class SpillwayError<Code extends string = ErrorCode> extends Error {
  /** The same name for every error of Spillway. A trace shows it before the message. */
  override readonly name = 'SpillwayError';
  /** The kind of the error, for programs. */
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
