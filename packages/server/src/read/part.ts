import type { ServerResponse } from 'node:http';
import type { Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { LargeRun } from '../memory/large-run.ts';
import { withoutEvents } from './event-ids.ts';
import { type Position, writeOffset, writePosition } from './position.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { StreamBody } from '../stream/stream-body.ts';

/** The longest body of an answer that is not a live stream; the rest is another request's. */
const maxPartBytes = 262_144;

/** What is there of a stream from a position on. */
export interface Part {
  readonly body: Buffer;
  /** The offset behind it. */
  readonly to: number;
  /** Whether that is all that there is at the moment. */
  readonly isUpToDate: boolean;
  /** To be called when the client has the body, or has left: until then its large events have their places. */
  readonly letGo: () => void;
}

/**
 * Takes what is there. With nothing there, waits so long for more, for the end, or for the client to leave. Such a
 * reader stops no model by leaving; the model goes on for `detachGraceMs` after it.
 */
export async function readPart(
  stream: GatewayStream,
  { log, maxWaitingBytes }: StreamBody,
  from: Position,
  wait?: { readonly ms: number; readonly response: ServerResponse },
): Promise<Part> {
  const reader = log.reader({ from: from.offset, overflow: 'disconnect' });
  stream.visited(performance.now());
  stream.audience.visitors.add(reader);
  try {
    if (wait !== undefined) await isReady(reader, wait.ms, wait.response);
    // What is kept elsewhere comes late.
    else if (from.offset < log.nextOffset) await reader.ready();
    stream.visited(performance.now());
    // Its body is a copy, for each reader. An event that is larger than a window comes alone, and is not copied.
    const runs = reader.takeAll({ maxBytes: Math.min(maxPartBytes, maxWaitingBytes) });
    const large = runs.filter((run) => run instanceof LargeRun);
    for (const run of large) run.hold();
    for (const run of runs) stream.sent(run);
    return {
      body: bodyOf(runs, from.skippedEvents),
      to: reader.offset,
      isUpToDate: reader.offset === log.nextOffset,
      letGo: () => {
        for (const run of large) run.letGo();
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

/** What every answer says of the stream. */
export function streamHeaders({ log }: StreamBody): Record<string, string> {
  return {
    'cache-control': 'private, no-store',
    'cross-origin-resource-policy': 'same-origin',
    'stream-state': log.end?.state ?? 'open',
    'x-content-type-options': 'nosniff',
  };
}

/** What an answer says of where its reader is now. */
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

/** Weak: what lies between two offsets stays the same, but may be merged later. */
export function entityTag({ id }: GatewayStream, { log }: StreamBody, from: Position, { to }: Part): string {
  return `W/"${id}:${writePosition(from)}:${writeOffset(to)}:${log.end?.state ?? 'open'}"`;
}

export function hasEntityTag(ifNoneMatch: string | undefined, tag: string): boolean {
  return ifNoneMatch?.split(',').some((given) => ['*', tag].includes(given.trim())) === true;
}

async function isReady(reader: Reader<unknown>, waitMs: number, response: ServerResponse): Promise<void> {
  const stop = (): void => reader.detach();
  const timer = setTimeout(stop, waitMs);
  response.once('close', stop);
  await reader.ready();
  clearTimeout(timer);
  response.off('close', stop);
}
