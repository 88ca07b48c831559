import { type Channel, openChannel } from '@spillway/core';
import type { Clock } from '@spillway/core/clock';
import { createCoalesce } from '@spillway/core/format/coalesce';
import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import { frameOverheadBytes } from '@spillway/core/session';
import type { RunMemory } from '../memory/run-memory.ts';

/** Opens the channel of a stream. Without a format its chunks are bytes, which are neither merged nor kept. */
export function openRunChannel(
  maxBytes: number,
  memory: RunMemory,
  format: Format | undefined,
  clock: Pick<Clock, 'nowMs'>,
): Channel<EventRun> {
  return openChannel<EventRun>({
    maxBytes,
    memory,
    clock,
    measureAge: true,
    // The object of a run costs memory, too. Without the overhead, tiny events would fill several times the window.
    weigh: ({ byteLength }) => byteLength + frameOverheadBytes,
    ...(format === undefined
      ? {}
      : { merge: createCoalesce(format.delta), replay: { maxHeldBytes: maxBytes, merges: true } }),
  });
}
