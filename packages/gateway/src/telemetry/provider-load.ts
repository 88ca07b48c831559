import type { ProviderGate } from '../provider/gate/provider-gate.ts';
import { placesLoad } from '../pressure/places-load.ts';
import type { Readings } from '../pressure/pressure-gauge.ts';

/**
 * What is known of providers: of the model that is worst off, how full its places are, and how many times its best the time to its
 * first token is; 0: nothing is known, as of those without `maxStreams`.
 */
export function providerLoad(
  gates: Iterable<ProviderGate>,
): Required<Pick<Readings, 'provider_latency' | 'provider_places'>> {
  let places = 0;
  let latency = 0;
  for (const { admission, firstToken, provider } of gates) {
    if (admission === undefined) continue;
    const { taken, waiting } = admission;
    // A limit that finds itself is no larger than what is asked for: only where somebody waits is it full.
    const { max = 0, maxWaiting = 0 } = provider.streams ?? {};
    places = Math.max(places, placesLoad({ limit: max, taken, waiting, maxWaiting }));
    if (firstToken !== undefined)
      latency = Math.max(latency, firstToken.latestMs / Math.max(1, firstToken.bestMs));
  }
  return { provider_places: places, provider_latency: latency };
}
