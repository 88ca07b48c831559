import type { WatchedPressure } from '@spillway/server/console/history';
import type { Pressure } from './pressure.ts';

/** The pressure as the console's history looks at it, once a second. `memoryOf`: the part of its budget that is full. */
export function watchPressure(
  pressure: Pressure,
  memoryOf: (measured: { readonly waitingBytes: number }) => number,
): WatchedPressure {
  return {
    take: ({ loopDelayMs, waitingBytes }) =>
      pressure.take({ memory: memoryOf({ waitingBytes }), loop_delay: loopDelayMs }),
    get level() {
      return pressure.isConfigured ? pressure.level : null;
    },
    get changes() {
      return pressure.changes;
    },
  };
}
