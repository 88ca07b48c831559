import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import type { ServerClock } from '../time/server-clock.ts';

/** What a reader's response over a session is opened with. */
export interface SessionResponseOptions {
  readonly clock: ServerClock;
  /** In which errors are told. */
  readonly format: Format;
  /** Whether an error before the first chunk is an answer as by HTTP: a status and a body. */
  readonly answersErrors: boolean;
  /** The client takes an error event for a piece of the answer, so it gets none. Default: `false`. */
  readonly answersOnly?: boolean;
  /** The stream's window: what may be sent and not acknowledged. */
  readonly windowBytes: number;
  /** What its client asked for, and counts with: that or more. Default: the window. */
  readonly askedWindowBytes?: number;
  /** What may be sent and not acknowledged, in time. Default: chunks are counted in bytes alone. */
  readonly windowMs?: number | undefined;
  /** How long a chunk takes to play. Default: no time. */
  readonly durationMs?: (run: EventRun) => number;
  /** Where it begins; `now` is not known yet, and counts as 0. Default 0. */
  readonly from?: number;
  /** Where the stream can be read again. */
  readonly url: () => string;
  /** Called with the tokens that the reader has consumed since it was called last. */
  readonly onAck: (tokens: number) => void;
  /** Called when nothing can be resumed any more. */
  readonly onClose: () => void;
}
