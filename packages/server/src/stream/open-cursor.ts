import type { Gap, Overflow, Reader, ReaderOptions } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { GatewayError, historyGone } from '../errors.ts';
import type { StreamReaderOptions } from './read-stream.ts';
import type { StreamBody } from './stream-body.ts';
import { untimed } from './untimed-credit.ts';

/**
 * Opens a cursor on a stream's log, with the reader's options as far as the stream supports them.
 *
 * @throws {GatewayError | SpillwayError} `invalid_request` for an offset after the log's end, `history_gone`.
 */
export function openCursor(
  body: StreamBody,
  {
    credit = [],
    from = 'start',
    maxBytes,
    merges = true,
    onCreditBlocked,
    overflow,
  }: StreamReaderOptions & { readonly overflow: Overflow },
): Reader<EventRun | Gap> {
  const { log } = body;
  const { end, nextOffset } = log;
  // A log with `refresh` may not know its newest offset here, so only others are checked.
  if (log.refresh === undefined && typeof from === 'number' && from > nextOffset) {
    throw new GatewayError('invalid_request', `The offset: expected at most ${nextOffset}, got ${from}.`);
  }
  if (end?.state === 'cancelled' && typeof from === 'number' && from < nextOffset) {
    throw historyGone(end.error);
  }
  const canMerge = body.format !== undefined;
  const options: ReaderOptions<EventRun> = {
    // Without merging, `coalesce` can make no room: it is the same as `block`.
    overflow: overflow === 'coalesce' && !canMerge ? 'block' : overflow,
    merges: merges && canMerge,
    credit: body.durationMs === undefined ? credit.map(untimed) : credit,
    from,
    ...(onCreditBlocked === undefined ? {} : { onCreditBlocked }),
    // The window also holds what one read brings, so the reader's bound ≤ `maxWaitingBytes` always, whatever was
    // asked for.
    ...(maxBytes === undefined ? {} : { maxBytes: Math.min(maxBytes, body.maxWaitingBytes) }),
  };
  return log.reader(options);
}
