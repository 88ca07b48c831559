import { SpillwayError } from '../errors.ts';
import type { Bounds } from './bounds.ts';

/**
 * What happens to a reader that is full:
 *
 * - `block`: the source waits. Nothing is lost; the source, and with it all readers, are slowed.
 * - `coalesce`: neighbours that wait for the reader are merged, without loss; if that frees no room, as `block`.
 * - `drop-oldest`: the chunks that wait longest are dropped, and the reader receives a gap.
 * - `drop-newest`: the chunks that come are dropped, and the reader receives a gap.
 * - `latest`: all waiting chunks are dropped; only the newest remains.
 * - `disconnect`: the reader is ended, with the offset from which a new reader can go on.
 * - `error`: the reader fails with `reader_overflow`.
 *
 * The last five affect no other reader and do not slow the source. One more policy, `spill`, has a parameter and is
 * made by `spillTo`.
 */
export type Overflow = LosslessOverflow | LossyOverflow;

/** Policies under which a reader gets every chunk, or an end that says that some are missing. */
export type LosslessOverflow = 'block' | 'coalesce' | 'disconnect' | 'error';

/** Policies under which a reader can lose chunks. The reader receives each loss as a gap. */
export type LossyOverflow = 'drop-newest' | 'drop-oldest' | 'latest';

/** Whether a reader with that policy can lose chunks without ending. */
export function isLossy(overflow: string): boolean {
  return ['drop-newest', 'drop-oldest', 'latest'].includes(overflow);
}

export const overflows: readonly Overflow[] = [
  'block',
  'coalesce',
  'disconnect',
  'drop-newest',
  'drop-oldest',
  'error',
  'latest',
];

/** The error of a reader with the policy `error`, for a chunk of the given size. */
export function overflowError(
  reader: {
    readonly bounds: Bounds;
    readonly waitingItems: number;
    readonly waitingBytes: number;
    readonly waitingMs: number;
  },
  bytes: number,
  ms: number,
): SpillwayError {
  const { bounds, waitingBytes, waitingItems, waitingMs } = reader;
  return new SpillwayError(
    'reader_overflow',
    `The reader fell behind: ${waitingItems} chunks (${waitingBytes} bytes, ${waitingMs} ms) wait and one of ` +
      `${bytes} bytes, ${ms} ms came; its bound is ${bounds.maxItems} chunks, ${bounds.maxBytes} bytes, ` +
      `${bounds.maxMs} ms. Read faster, raise the bound, or choose another overflow policy.`,
  );
}
