import { Gap, type Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { ReaderResponse } from './reader-response.ts';

/** At most this much is taken from the channel at once; the rest waits where it is bounded. */
const maxTakeBytes = 32_768;

export interface WriteEventsOptions {
  /** Called before every write; the headers go out with the first one. */
  readonly start: () => void;
  readonly onWritten: (run: EventRun) => void;
  readonly onGap: (gap: Gap) => void;
  /** How long to wait before the next write, so that what waits can be merged; 0: not at all. */
  readonly delayMs: () => number;
}

/**
 * Writes what a reader gets, until its end: everything that is there at once (Node joins the writes of
 * one turn into one system call), and then nothing until the connection has taken it and its link is due
 * again. A reader that keeps up gets each run as it came; one that falls behind gets larger writes by
 * itself, merged as far as its channel can.
 */
export async function writeEvents(
  reader: Reader<EventRun | Gap>,
  response: ReaderResponse,
  { delayMs, onGap, onWritten, start }: WriteEventsOptions,
): Promise<void> {
  while (await reader.ready()) {
    const waitMs = delayMs();
    if (waitMs > 0) {
      await response.rest(waitMs);
      continue;
    }
    start();
    let taken = 0;
    let wantsMore = true;
    while (wantsMore && taken < maxTakeBytes) {
      const from = reader.offset;
      const run = reader.take();
      if (run === undefined) break;
      if (run instanceof Gap) {
        response.gap?.(run);
        onGap(run);
        continue;
      }
      taken += run.byteLength;
      wantsMore = response.write(run, from, reader.offset);
      onWritten(run);
    }
    if (!wantsMore) await response.drained();
  }
}
