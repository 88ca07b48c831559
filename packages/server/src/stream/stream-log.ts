import type { Channel } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';

/**
 * What a stream has said, for whoever reads it: this process's channel, or a history that is kept elsewhere. It keeps what was
 * written; what waits for a reader is merged for that reader. oldestOffset ≤ nextOffset always, and neither goes back. A reader of
 * what is not there any more is refused with `history_gone`; where that is found out later, it fails with that. One that waits for what is
 * there gets it, or fails: within a deadline of the log's own.
 */
export interface StreamLog extends Pick<
  Channel<EventRun>,
  'end' | 'heldBytes' | 'newest' | 'nextOffset' | 'oldestOffset' | 'reader'
> {
  /**
   * Finds out where it is now, if that is known elsewhere. Called before somebody's first look. Absent: it always knows.
   *
   * @throws {GatewayError} if that cannot be found out.
   */
  refresh?(): Promise<void>;
  /** Nobody wants the rest: its source stops, and its readers end with the reason. */
  cancel(reason: Error): void;
}
