import { SpillwayError } from '../errors.ts';
import type { ReaderEnd } from './reader.ts';

/** A write that waits for room. */
export interface PendingWrite<T> {
  readonly chunk: T;
  readonly bytes: number;
  readonly ms: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** Removes the listener from the write's signal. */
  readonly unlisten: (() => void) | undefined;
}

/** The error for writing `undefined`, with which `take` says that nothing waits. */
export function noChunk(): SpillwayError {
  return new SpillwayError('invalid_chunk', 'Expected a chunk, got undefined.');
}

/** The error for a second write while one waits. */
export function stillWaits(): SpillwayError {
  return new SpillwayError('write_pending', 'An earlier write still waits for room: await it first.');
}

/** The error for a write to a channel that has ended. */
export function closedError(end: ReaderEnd): Error {
  if (end.state === 'cancelled') return end.error;
  const reason = 'error' in end ? { cause: end.error } : {};
  return new SpillwayError(
    'channel_closed',
    `The channel has ended (${end.state}): nothing can be written.`,
    reason,
  );
}
