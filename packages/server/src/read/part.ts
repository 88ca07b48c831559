import type { ServerResponse } from 'node:http';
import type { Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { LargeRun } from '../memory/large-run.ts';
import type { ServerClock } from '../time/server-clock.ts';
import { withoutEvents } from './event-ids.ts';
import type { Patience } from './patience.ts';
import { toldState } from './told-state.ts';
import { type Position, writeOffset, writePosition } from './position.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { StreamBody } from '../stream/stream-body.ts';

/** The longest body of an answer that is not live. Another request gets the rest. */
const maxPartBytes = 262_144;

/** The chunks of a stream that are there from a position on. */
export interface Part {
  readonly body: Buffer;
  /** The offset of the first chunk after `body`. */
  readonly to: number;
  /** Whether `body` reaches the stream's present end. */
  readonly isUpToDate: boolean;
  /** Releases the body's large events. Call it when the client has the body, or has left. */
  readonly release: () => void;
}

/**
 * Takes the chunks that are there. With `wait` and no chunk there, waits for one, for the stream's end, or for the
 * client to leave. Such a client does not stop the model when it leaves: the model goes on for `detachGraceMs`.
 */
export async function readPart(
  stream: GatewayStream,
  { log, maxWaitingBytes }: StreamBody,
  from: Position,
  clock: ServerClock,
  wait: Pick<Patience, 'ready'> | { readonly ms: number; readonly response: ServerResponse },
): Promise<Part> {
  const reader = log.reader({ from: from.offset, overflow: 'disconnect' });
  stream.visited(clock.nowMs());
  stream.audience.visitors.add(reader);
  try {
    if ('ms' in wait) await isReady(reader, clock, wait.ms, wait.response);
    // A log that is kept elsewhere needs time to read its chunks.
    else if (from.offset < log.nextOffset) await wait.ready(reader);
    stream.visited(clock.nowMs());
    // The body is a copy for each reader. A large event comes alone, and is not copied.
    const runs = reader.takeAll({ maxBytes: Math.min(maxPartBytes, maxWaitingBytes) });
    // The log cannot be read. A stream that has failed is no such case.
    if (runs.length === 0 && reader.end?.state === 'failed' && log.end === undefined) throw reader.end.error;
    const large = runs.filter((run) => run instanceof LargeRun);
    for (const run of large) run.hold();
    for (const run of runs) stream.sent(run);
    return {
      body: bodyOf(runs, from.skippedEvents),
      to: reader.offset,
      isUpToDate: reader.offset === log.nextOffset,
      release: () => {
        for (const run of large) run.release();
      },
    };
  } finally {
    stream.audience.visitors.delete(reader);
    reader.detach();
  }
}

function bodyOf([first, ...rest]: readonly EventRun[], skippedEvents: number): Buffer {
  if (first === undefined) return Buffer.alloc(0);
  const bytes = withoutEvents(first, skippedEvents);
  if (rest.length === 0) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return Buffer.concat([bytes, ...rest.map((run) => run.bytes)]);
}

/** The headers about the stream that every answer has. */
export function streamHeaders({ log }: StreamBody): Record<string, string> {
  return {
    'cache-control': 'private, no-store',
    'cross-origin-resource-policy': 'same-origin',
    ...stateHeaders(log),
    'x-content-type-options': 'nosniff',
  };
}

function stateHeaders(log: StreamBody['log']): Record<string, string> {
  const { reason, state } = toldState(log);
  return { 'stream-state': state, ...(reason === undefined ? {} : { 'stream-state-reason': reason }) };
}

/** The headers about the reader's new offset. */
export function offsetHeaders(
  { log }: StreamBody,
  { isUpToDate, to }: Pick<Part, 'isUpToDate' | 'to'>,
): Record<string, string> {
  return {
    'stream-next-offset': writeOffset(to),
    ...(isUpToDate ? { 'stream-up-to-date': 'true' } : {}),
    ...(isUpToDate && log.end !== undefined ? { 'stream-closed': 'true' } : {}),
  };
}

/** A weak tag: the content between two offsets stays the same, but may be merged later. */
export function entityTag({ id }: GatewayStream, { log }: StreamBody, from: Position, { to }: Part): string {
  return `W/"${id}:${writePosition(from)}:${writeOffset(to)}:${log.end?.state ?? 'open'}"`;
}

export function hasEntityTag(ifNoneMatch: string | undefined, tag: string): boolean {
  return ifNoneMatch?.split(',').some((given) => ['*', tag].includes(given.trim())) === true;
}

async function isReady(
  reader: Reader<unknown>,
  clock: ServerClock,
  waitMs: number,
  response: ServerResponse,
): Promise<void> {
  const stop = (): void => reader.detach();
  const timer = clock.after(waitMs, stop);
  response.once('close', stop);
  await reader.ready();
  timer.stop();
  response.off('close', stop);
}
