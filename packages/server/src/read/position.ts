import { SpillwayError } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { GatewayError, historyGone } from '../errors.ts';
import type { StreamLog } from '../stream/stream-log.ts';

/** A place in a stream. */
export interface Position {
  /** The number of chunks before it. */
  readonly offset: number;
  /** How many events of the chunk that starts there come before it. */
  readonly skippedEvents: number;
  /** How many chunks that chunk stands for; more than one if it was merged. */
  readonly chunks: number;
}

const pattern = /^(?<offset>\d{16})(?:\.(?<skippedEvents>[1-9]\d{0,8})(?:\.(?<chunks>[1-9]\d{0,8}))?)?$/;

/** As it is on URLs: an offset in 16 digits, which sort as text. */
export function writeOffset(offset: number): string {
  return String(offset).padStart(16, '0');
}

export function writePosition({ chunks, offset, skippedEvents }: Position): string {
  if (skippedEvents === 0) return writeOffset(offset);
  return `${writeOffset(offset)}.${skippedEvents}${chunks === 1 ? '' : `.${chunks}`}`;
}

/**
 * Finds the place that a text names: `-1`, which is the start, `now`, which is where the stream was when that was asked for, or an
 * offset.
 *
 * @throws {GatewayError} `invalid_request` for what is none, or is not there yet.
 * @throws {GatewayError | SpillwayError} `history_gone` for what is not there any more.
 */
export async function findPosition(
  log: StreamLog,
  name: string,
  text: string,
  nowOffset: number,
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
  // Behind the end, the one event is that of the error.
  const isThere =
    offset < nextOffset || (offset === nextOffset && (skippedEvents === 0 || log.end !== undefined));
  if (!isThere) {
    throw new GatewayError(
      'invalid_request',
      `${name}: expected at most ${writeOffset(nextOffset)}, where the stream is, got ${text}.`,
    );
  }
  // Behind everything, nothing can be gone.
  if (offset === nextOffset) return position;
  const { end } = log;
  if (end?.state === 'cancelled') throw historyGone(end.error);
  const reader = log.reader({ from: offset, overflow: 'disconnect' });
  try {
    await reader.ready();
    if (reader.end?.state === 'failed' && isGone(reader.end.error)) throw reader.end.error;
    if (skippedEvents > 0) checkChunk(reader.take(), reader.offset, position);
  } finally {
    reader.detach();
  }
  return position;
}

/** Whether a reader failed because its log does not have any more what it asked for. */
function isGone(error: Error): boolean {
  return error instanceof SpillwayError && error.code === 'history_gone';
}

/** Events are counted in the chunk as it was then: one that was merged since has others. */
function checkChunk(run: EventRun | undefined, nextOffset: number, { chunks, offset }: Position): void {
  if (run !== undefined && nextOffset - offset === chunks) return;
  throw new SpillwayError('history_gone', `The chunk at offset ${offset} was merged with what follows it.`);
}
