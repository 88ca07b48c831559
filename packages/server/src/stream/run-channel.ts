import { type Channel, openChannel } from '@spillway/core';
import { createCoalesce } from '@spillway/core/format/coalesce';
import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import { frameOverheadBytes } from '@spillway/core/session';
import type { RunMemory } from '../memory/run-memory.ts';

/** The channel of a stream; without a format its chunks are bytes, which are not merged and not kept. */
export function openRunChannel(
  maxBytes: number,
  memory: RunMemory,
  format: Format | undefined,
): Channel<EventRun> {
  return openChannel<EventRun>({
    maxBytes,
    memory,
    measureAge: true,
    // What holds a run costs too: a provider that writes tiny events would fill several times the window.
    weigh: ({ byteLength }) => byteLength + frameOverheadBytes,
    ...(format === undefined
      ? {}
      : { merge: createCoalesce(format.delta), replay: { maxHeldBytes: maxBytes, merges: true } }),
  });
}
