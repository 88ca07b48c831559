import { type EventSpan, eventsIn } from '@spillway/core/format/sse-events';
import { type Position, writeOffset, writePosition } from './position.ts';

const LF = 0x0a;
const CR = 0x0d;

/** A chunk less its first events. */
export function withoutEvents(bytes: Uint8Array, count: number): Uint8Array {
  if (count === 0) return bytes;
  const last = eventsIn(bytes)[count - 1];
  return bytes.subarray(last?.end ?? bytes.length);
}

/** Gives each event of a chunk, less the first ones, the id of the position behind it. Returns the pieces, of which each is a part of the chunk or small. */
export function withIds(bytes: Uint8Array, from: number, to: number, skippedEvents: number): Uint8Array[] {
  const spans = eventsIn(bytes);
  // Blank lines alone are no event: half of a line end, or one too many.
  const last = spans.findLastIndex((span) => !isBlank(span, bytes));
  const end = writeOffset(to);
  const idOf = (index: number): string => {
    const behind: Position = { offset: from, skippedEvents: index + 1, chunks: to - from };
    return index === last ? end : writePosition(behind);
  };
  const parts: Uint8Array[] = [];
  for (const [index, span] of spans.entries()) {
    if (index < skippedEvents) continue;
    if (isBlank(span, bytes)) parts.push(bytes.subarray(span.start, span.end));
    else parts.push(...eventWithId(bytes, span, idOf(index)));
  }
  if (last === -1) parts.push(Buffer.from(`id: ${end}\n\n`));
  return parts;
}

/** Gives every event the same id. */
export function withId(bytes: Uint8Array, id: string): Uint8Array {
  return Buffer.concat(eventsIn(bytes).flatMap((span) => eventWithId(bytes, span, id)));
}

/** The id is a line in front of the blank one, with the line end of the line before. */
function eventWithId(bytes: Uint8Array, { end, start }: EventSpan, id: string): Uint8Array[] {
  const blank = end - lineEndBefore(bytes, end);
  const lineEnd = bytes.subarray(blank - lineEndBefore(bytes, blank), blank);
  return [bytes.subarray(start, blank), Buffer.from(`id: ${id}`), lineEnd, bytes.subarray(blank, end)];
}

function isBlank({ end, start }: EventSpan, bytes: Uint8Array): boolean {
  return end - start === lineEndBefore(bytes, end);
}

/** The length of the line end in front of an index. */
function lineEndBefore(bytes: Uint8Array, index: number): number {
  return bytes[index - 1] === LF && bytes[index - 2] === CR ? 2 : 1;
}
