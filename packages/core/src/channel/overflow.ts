import { SpillwayError } from '../errors.ts';
import type { Bounds } from './bounds.ts';

/**
 * What happens to a reader that is full:
 *
 * - `block`: the source waits. Nothing is lost, everybody upstream is slowed.
 * - `coalesce`: neighbours that wait for it are merged, without loss; if that frees no room, as `block`.
 * - `drop-oldest`: what waits longest is dropped, and the reader receives a gap.
 * - `drop-newest`: what comes is dropped, and the reader receives a gap.
 * - `latest`: all that waits is dropped; only the newest remains.
 * - `disconnect`: the reader is ended, with the offset from which it can come back.
 * - `error`: the reader fails with `reader_overflow`.
 *
 * Nobody but the reader itself notices the last five. One more has a parameter and is made by `spillTo`.
 */
export type Overflow = LosslessOverflow | LossyOverflow;

/** Policies under which a reader gets every chunk, or an end that says that it did not. */
export type LosslessOverflow = 'block' | 'coalesce' | 'disconnect' | 'error';

/** Policies under which a reader can lose chunks. Each loss reaches it as a gap. */
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

/** Why a reader with the policy `error` fails, for a chunk of that size. */
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
