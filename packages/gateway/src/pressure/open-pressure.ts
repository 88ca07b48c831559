import type { RequestMemory } from '@spillway/server/memory/request-memory';
import type { Admission } from '@spillway/server/admission/admission';
import type { Config } from '../config/schema.ts';
import { placesLoad } from './places-load.ts';
import type { Readings } from './pressure-gauge.ts';
import { Pressure, type PressureOptions } from './pressure.ts';

/** What the pressure of a gateway is read of. */
export interface PressureSources extends Pick<PressureOptions, 'clock' | 'log'> {
  readonly admission: Pick<Admission, 'taken' | 'waiting'>;
  readonly memory: Pick<RequestMemory, 'heldBytes'>;
  /** The bytes that may wait for readers: of all channels, and large events. */
  readonly waitingLimitBytes: number;
  /** What is known of providers. Default: nothing. */
  readonly providers?: () => Pick<Readings, 'provider_latency' | 'provider_places'>;
}

/** The pressure of a gateway, with the rules of its settings. */
export function openPressure(
  { maxRequestMemoryBytes, maxStreams, maxWaiting, pressure }: Config,
  { admission, clock, log, memory, providers, waitingLimitBytes }: PressureSources,
): Pressure {
  return new Pressure({
    rules: pressure,
    clock,
    log,
    readings: ({ loopDelayMs, waitingBytes }) => {
      const { taken, waiting } = admission;
      return {
        memory: Math.max(waitingBytes / waitingLimitBytes, memory.heldBytes / maxRequestMemoryBytes),
        loop_delay: loopDelayMs,
        places: placesLoad({ taken, limit: maxStreams, waiting, maxWaiting }),
        ...providers?.(),
      };
    },
  });
}
