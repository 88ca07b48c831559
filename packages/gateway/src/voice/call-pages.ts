import type { ServerClock } from '@spillway/server/time/server-clock';
import type { CallsSnapshot } from './calls-snapshot.ts';
import type { Voice } from './voice.ts';

/** What the console may watch of calls. `voice`: what takes them; `undefined`: this gateway takes none. */
export function callPages(
  clock: Pick<ServerClock, 'dateMs'>,
  voice: () => Pick<Voice, 'calls' | 'demonstrations'> | undefined,
): { readonly calls: () => CallsSnapshot } {
  return {
    calls: () => ({
      atMs: clock.dateMs(),
      isServed: voice() !== undefined,
      hasDemonstrations: voice()?.demonstrations !== undefined,
      calls: voice()?.calls.rows ?? [],
      ended: voice()?.calls.latest ?? [],
    }),
  };
}
