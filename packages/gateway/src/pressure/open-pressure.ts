import type { RequestMemory } from '@spillway/server/memory/request-memory';
import type { Admission } from '@spillway/server/admission/admission';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { Served } from '../config/read-models.ts';
import type { Limiter } from '../limit/limiter.ts';
import { runningAnswers } from './running-answers.ts';
import type { Config } from '../config/schema.ts';
import { placesLoad } from './places-load.ts';
import type { Readings } from './pressure-gauge.ts';
import { Pressure, type PressureOptions } from './pressure.ts';

/** What the pressure of a gateway is read of. */
export interface PressureSources extends Pick<PressureOptions, 'clock' | 'log'> {
  readonly streams: { all(): Iterable<GatewayStream> };
  readonly limits: { readonly limiter: Pick<Limiter, 'priorityOf'> | undefined };
  readonly served: () => Pick<Served, 'providers'>;
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
  { admission, clock, log, limits, memory, providers, served, streams, waitingLimitBytes }: PressureSources,
): Pressure {
  return new Pressure({
    rules: pressure,
    clock,
    log,
    running: () => runningAnswers(streams.all(), limits.limiter, served().providers),
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
