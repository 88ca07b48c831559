import type { Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { ClientResponse } from './client-response.ts';

/** At most this much is taken from the channel at once; the rest waits where it is bounded. */
const maxTakeBytes = 32_768;

/**
 * Writes what a reader gets, until its end: everything that is there at once (Node joins the writes of
 * one turn into one system call), and then nothing until the connection has taken it. A reader that
 * keeps up gets each run as it came; one that falls behind gets larger writes by itself.
 *
 * `start` is called before every write; the headers go out with the first one.
 */
export async function writeEvents(
  reader: Reader<EventRun>,
  response: ClientResponse,
  start: () => void,
  onWritten: (run: EventRun) => void,
): Promise<void> {
  while (await reader.ready()) {
    start();
    let taken = 0;
    let wantsMore = true;
    while (wantsMore && taken < maxTakeBytes) {
      const run = reader.take();
      if (run === undefined) break;
      taken += run.bytes.byteLength;
      wantsMore = response.write(run.bytes);
      onWritten(run);
    }
    if (!wantsMore) await response.drained();
  }
}
