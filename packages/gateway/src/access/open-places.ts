import { Admission } from '@spillway/server/admission/admission';
import { FixedLimit } from '@spillway/server/admission/concurrency-limit';
import type { ServerClock } from '@spillway/server/time/server-clock';

/** The places of the whole process: for streams, conversations, and lists of models that are asked for. */
export function openPlaces(
  { maxStreams, maxWaiting }: { readonly maxStreams: number; readonly maxWaiting: number },
  clock: ServerClock,
): Admission {
  return new Admission({ clock, limit: new FixedLimit(maxStreams), maxWaiting });
}
