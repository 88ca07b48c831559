import type { BodyHold } from '../memory/request-memory.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { Meter } from './meter.ts';
import type { ReaderEndReason, ServedReader } from './served-reader.ts';
import type { StreamTokens } from './stream-token.ts';

/** A stream's host: gets the stream's events, and lends it shared things. */
export interface StreamHost<Stream> {
  readonly clock: ServerClock;
  readonly tokens: StreamTokens;
  readonly meter: Meter;
  readonly began: (stream: Stream, ttftMs: number) => void;
  readonly readerEnded: (reason: ReaderEndReason, reader: ServedReader, stream: Stream) => void;
  /**
   * Takes a place for a reader of the stream that holds back its credit; see `pauseMs`. `undefined`: the client has
   * too many.
   */
  readonly openPause: (stream: Stream) => BodyHold | undefined;
  /**
   * The stream has ended, and no reader needs more of it: the channel now holds only history. May be called more than
   * once.
   */
  readonly delivered: (stream: Stream) => void;
  /** A tap has finished with one of the streams. */
  readonly tapEnded: () => void;
  /** Reports an error that nobody foresaw. */
  readonly defect: (where: string, error: unknown) => void;
}
