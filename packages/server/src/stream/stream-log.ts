import type { Channel } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';

/**
 * The chunks of a stream, for its readers: this process's channel, or a history that is kept elsewhere. The log keeps
 * chunks as they were written; a reader's waiting chunks are merged for that reader alone. oldestOffset ≤ nextOffset
 * always, and neither goes back. A reader at an offset that is gone is refused with `history_gone`. If that is found
 * out later, the reader fails with that code. A reader that waits for a chunk that is there gets it, or fails within
 * a deadline of the log's own.
 */
export interface StreamLog extends Pick<
  Channel<EventRun>,
  'end' | 'heldBytes' | 'newest' | 'nextOffset' | 'oldestOffset' | 'reader'
> {
  /**
   * Asks for the log's present end, if that is known elsewhere. Called before a reader's first look. Absent: the log
   * always knows its end.
   *
   * @throws {GatewayError} if the end cannot be found out.
   */
  refresh?(): Promise<void>;
  /** Cancels the log: its source stops, and its readers end with the reason. */
  cancel(reason: Error): void;
}
