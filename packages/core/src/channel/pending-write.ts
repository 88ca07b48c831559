import { SpillwayError } from '../errors.ts';
import type { ReaderEnd } from './reader.ts';

/** A write that waits for room. */
export interface PendingWrite<T> {
  readonly chunk: T;
  readonly bytes: number;
  readonly ms: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** Stops listening to the signal. */
  readonly unlisten: (() => void) | undefined;
}

/** Why `undefined` is not written: taking it could not be told from taking nothing. */
export function noChunk(): SpillwayError {
  return new SpillwayError('invalid_chunk', 'Expected a chunk, got undefined.');
}

/** Why a second write does not wait, too. */
export function stillWaits(): SpillwayError {
  return new SpillwayError('write_pending', 'An earlier write still waits for room: await it first.');
}

/** Why nothing can be written to a channel that ended like this. */
export function closedError(end: ReaderEnd): Error {
  if (end.state === 'cancelled') return end.error;
  const reason = 'error' in end ? { cause: end.error } : {};
  return new SpillwayError(
    'channel_closed',
    `The channel has ended (${end.state}): nothing can be written.`,
    reason,
  );
}
