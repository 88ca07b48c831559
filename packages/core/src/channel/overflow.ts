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
 * Nobody but the reader itself notices the last five.
 */
export type Overflow = LosslessOverflow | LossyOverflow;

/** Policies under which a reader gets every chunk, or an end that says that it did not. */
export type LosslessOverflow = 'block' | 'coalesce' | 'disconnect' | 'error';

/** Policies under which a reader can lose chunks. Each loss reaches it as a gap. */
export type LossyOverflow = 'drop-newest' | 'drop-oldest' | 'latest';

export const overflows: readonly Overflow[] = [
  'block',
  'coalesce',
  'disconnect',
  'drop-newest',
  'drop-oldest',
  'error',
  'latest',
];
