import type { EventRun } from '@spillway/core/format/sse';
import { eventAt, type EventSpan, eventsIn } from '@spillway/core/format/sse-events';
import { LargeRun } from '../memory/large-run.ts';
import { type Position, writeOffset, writePosition } from './position.ts';

const LF = 0x0a;
const CR = 0x0d;

/** The bytes of a run after its first `count` events. */
export function withoutEvents(run: EventRun, count: number): Uint8Array {
  const { bytes } = run;
  if (count === 0) return bytes;
  // A large run is one event, and a search in it would take long.
  if (run instanceof LargeRun) return bytes.subarray(bytes.length);
  let at = 0;
  for (let index = 0; index < count && at < bytes.length; index += 1) at = eventAt(bytes, at).end;
  return bytes.subarray(at);
}

/**
 * Gives each event of a run, after the first `skippedEvents`, the id of the position after the event. The pieces are
 * parts of the run, or small. They are made on request: ids make a run of tiny events many times as large.
 */
export function* withIds(
  run: EventRun,
  from: number,
  to: number,
  skippedEvents: number,
): Iterable<Uint8Array> {
  const { bytes } = run;
  const last = writeOffset(to);
  if (run instanceof LargeRun) {
    // A large run is one event, and a search in it would take long.
    if (skippedEvents === 0) yield* eventWithId(bytes, { start: 0, end: bytes.length }, last);
    return;
  }
  const lastStart = startOfLast(bytes);
  let index = 0;
  for (let start = 0; start < bytes.length; index += 1) {
    const { end } = eventAt(bytes, start);
    const behind: Position = { offset: from, skippedEvents: index + 1, chunks: to - from };
    if (index < skippedEvents) {
      // The client has this event already.
    } else if (isBlank(bytes, start, end)) {
      yield bytes.subarray(start, end);
    } else {
      yield* eventWithId(bytes, { start, end }, start === lastStart ? last : writePosition(behind));
    }
    start = end;
  }
  if (lastStart === -1) yield Buffer.from(`id: ${last}\n\n`);
}

/**
 * Where the last event begins; -1: there is no event. Blank lines alone are no event, but half of a line end, or an
 * extra one.
 */
function startOfLast(bytes: Uint8Array): number {
  let last = -1;
  for (let start = 0; start < bytes.length;) {
    const { end } = eventAt(bytes, start);
    if (!isBlank(bytes, start, end)) last = start;
    start = end;
  }
  return last;
}

/** Gives every event the same id. */
export function withId(bytes: Uint8Array, id: string): Uint8Array {
  return Buffer.concat(eventsIn(bytes).flatMap((span) => eventWithId(bytes, span, id)));
}

/** Puts the id in a line of its own before the blank line, with the same line end as the line before. */
function eventWithId(
  bytes: Uint8Array,
  { end, start }: Pick<EventSpan, 'end' | 'start'>,
  id: string,
): Uint8Array[] {
  const blank = end - lineEndBefore(bytes, end);
  const lineEnd = bytes.subarray(blank - lineEndBefore(bytes, blank), blank);
  return [bytes.subarray(start, blank), Buffer.from(`id: ${id}`), lineEnd, bytes.subarray(blank, end)];
}

function isBlank(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === lineEndBefore(bytes, end);
}

/** The length of the line end that ends at an index. */
function lineEndBefore(bytes: Uint8Array, index: number): number {
  return bytes[index - 1] === LF && bytes[index - 2] === CR ? 2 : 1;
}
