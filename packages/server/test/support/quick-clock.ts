import { nodeClock } from '../../src/time/node-clock.ts';
import type { ServerClock } from '../../src/time/server-clock.ts';

/** Node's time, but for waits, which are over fifty times as soon. */
export const quickClock: ServerClock = Object.assign(Object.create(nodeClock) as ServerClock, {
  after: (ms: number, callback: () => void) => nodeClock.after(ms / 50, callback),
});
