import type { BodyHold } from '../memory/request-memory.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { Meter } from './meter.ts';
import type { ReaderEndReason } from './served-reader.ts';
import type { StreamTokens } from './stream-token.ts';

/** Who hears of what a stream does. */
export interface StreamHost<Stream> {
  readonly clock: ServerClock;
  readonly tokens: StreamTokens;
  readonly meter: Meter;
  readonly began: (stream: Stream, ttftMs: number) => void;
  readonly readerEnded: (reason: ReaderEndReason) => void;
  /** Lets one of its readers hold back its credit, if its client has room for one more that does; see `pauseMs`. */
  readonly openPause: (stream: Stream) => BodyHold | undefined;
  /** It has ended, and no reader has to get any of it: all that its channel still has is history. May be called again. */
  readonly delivered: (stream: Stream) => void;
  /** Something failed that nobody foresaw. */
  readonly defect: (where: string, error: unknown) => void;
}
