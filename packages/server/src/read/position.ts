import { SpillwayError } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { GatewayError, historyGone } from '../errors.ts';
import type { StreamLog } from '../stream/stream-log.ts';
import type { Patience } from './patience.ts';

/** A place in a stream. */
export interface Position {
  /** The number of chunks before the place. */
  readonly offset: number;
  /** The number of events before the place, in the chunk that starts at `offset`. */
  readonly skippedEvents: number;
  /** The number of chunks that this chunk stands for: more than 1 if it was merged. */
  readonly chunks: number;
}

const pattern = /^(?<offset>\d{16})(?:\.(?<skippedEvents>[1-9]\d{0,8})(?:\.(?<chunks>[1-9]\d{0,8}))?)?$/;

/** An offset as URLs have it: 16 digits, which sort as text. */
export function writeOffset(offset: number): string {
  return String(offset).padStart(16, '0');
}

export function writePosition({ chunks, offset, skippedEvents }: Position): string {
  if (skippedEvents === 0) return writeOffset(offset);
  return `${writeOffset(offset)}.${skippedEvents}${chunks === 1 ? '' : `.${chunks}`}`;
}

/**
 * Finds the place that a text names: `-1` is the start, `now` is `nowOffset`, and else the text is a position.
 *
 * @throws {GatewayError} `invalid_request` for a text that is no position, or one after the stream's end.
 * @throws {GatewayError | SpillwayError} `history_gone` for a position whose chunks are gone.
 */
export async function findPosition(
  log: StreamLog,
  name: string,
  text: string,
  nowOffset: number,
  patience: Pick<Patience, 'ready'>,
): Promise<Position> {
  const { nextOffset } = log;
  const written = text === 'now' ? writeOffset(nowOffset) : text === '-1' ? writeOffset(0) : text;
  const groups = pattern.exec(written)?.groups;
  if (groups === undefined) {
    throw new GatewayError(
      'invalid_request',
      `${name}: expected -1, now, or an offset in 16 digits as this stream gave it, got ${JSON.stringify(text)}.`,
    );
  }
  const position = {
    offset: Number(groups['offset']),
    skippedEvents: Number(groups['skippedEvents'] ?? 0),
    chunks: Number(groups['chunks'] ?? 1),
  };
  const { offset, skippedEvents } = position;
  // After the stream's end, the one event that can be skipped is the error event.
  const isThere =
    offset < nextOffset || (offset === nextOffset && (skippedEvents === 0 || log.end !== undefined));
  if (!isThere) {
    throw new GatewayError(
      'invalid_request',
      `${name}: expected at most ${writeOffset(nextOffset)}, where the stream is, got ${text}.`,
    );
  }
  // No chunks follow the end, so none can be gone.
  if (offset === nextOffset) return position;
  const { end } = log;
  if (end?.state === 'cancelled') throw historyGone(end.error);
  const reader = log.reader({ from: offset, overflow: 'disconnect' });
  try {
    await patience.ready(reader);
    // Chunks are there, so a reader that has failed before it took one cannot read its log.
    if (reader.end?.state === 'failed') throw reader.end.error;
    if (skippedEvents > 0) checkChunk(reader.take(), reader.offset, position);
  } finally {
    reader.detach();
  }
  return position;
}

/** Throws if the chunk was merged after the position was written: its events are then counted differently. */
function checkChunk(run: EventRun | undefined, nextOffset: number, { chunks, offset }: Position): void {
  if (run !== undefined && nextOffset - offset === chunks) return;
  throw new SpillwayError('history_gone', `The chunk at offset ${offset} was merged with what follows it.`);
}
