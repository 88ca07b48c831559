import type { Overflow } from '@spillway/core';
import type { ReaderVia } from './read-stream.ts';
import type { ReaderEndReason, ServedReader } from './served-reader.ts';

/** A stream remembers so many readers that are gone, the latest. */
export const maxEndedReaders = 50;

/** What became of a reader, for people. */
export interface EndedReader {
  readonly number: number;
  readonly via: ReaderVia;
  readonly address: string;
  readonly policy: Overflow;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly reason: ReaderEndReason;
  /** The error that ended it; `null`: it got everything. The message is the gateway's own, never text of a body. */
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly tokens: number;
  readonly mergedEvents: number;
  readonly gaps: number;
  readonly lostTokens: number;
  /** The offset behind the last chunk that was written to the reader; `null`: it was written nothing. */
  readonly deliveredOffset: number | null;
  /** The offset behind the last chunk that the reader acknowledged; `null`: it cannot acknowledge. */
  readonly acknowledgedOffset: number | null;
}

export function endedReader(reader: ServedReader, reason: ReaderEndReason, atMs: number): EndedReader {
  const {
    address,
    deliveredOffset,
    endError,
    gaps,
    lostTokens,
    mergedEvents,
    number,
    overflow,
    tokens,
    via,
  } = reader;
  const error = reason === 'delivered' || endError === undefined ? null : endError;
  return {
    number,
    via,
    address,
    policy: overflow,
    atMs,
    reason,
    error: error && { code: error.code, message: error.message },
    tokens,
    mergedEvents,
    gaps,
    lostTokens,
    deliveredOffset: deliveredOffset ?? null,
    acknowledgedOffset: reader.response.acknowledgedOffset ?? null,
  };
}
