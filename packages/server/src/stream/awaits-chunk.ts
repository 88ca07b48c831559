import type { Reader } from '@spillway/core';

/**
 * Whether a reader has yet to take the chunk at `offset`. `oldestOffset`: the channel's oldest chunk. With
 * `drop-newest` a reader keeps chunks that the channel has dropped.
 */
export function awaitsChunk(
  reader: Reader<unknown> | undefined,
  overflow: unknown,
  offset: number,
  oldestOffset: number,
): boolean {
  if (reader === undefined || reader.end !== undefined) return false;
  if (offset >= Math.max(reader.offset, oldestOffset)) return true;
  const isKept = overflow === 'drop-newest' && offset >= reader.offset;
  return isKept && offset < reader.offset + reader.waitingItems;
}
