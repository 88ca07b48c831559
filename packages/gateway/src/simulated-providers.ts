import { randomBytes } from 'node:crypto';
import { apiNames, apis } from './api.ts';
import type { Provider } from './config/provider.ts';
import type { Simulator } from './simulate/simulator.ts';
import { canaryName } from './telemetry/canary.ts';

/** Opens a simulated provider on a port of this machine. Its code is loaded here: who has a provider does not need it. */
export async function openOwnSimulator(): Promise<Simulator> {
  const { openSimulator } = await import('./simulate/simulator.ts');
  return await openSimulator({ host: '127.0.0.1', port: 0 });
}

/** A simulator for the canary alone, the provider that it is, and the key by which its requests are known. */
export async function openCanaryProvider(): Promise<{
  key: string;
  provider: Provider;
  simulator: Simulator;
}> {
  const simulator = await openOwnSimulator();
  const provider: Provider = {
    name: canaryName,
    api: 'openai',
    url: simulator.url + apis.openai.pathInUrl,
    apiKey: 'simulated',
    detach: 'cancel',
    isOwn: true,
  };
  return { key: randomBytes(24).toString('base64url'), provider, simulator };
}

/** The simulator as a provider of each API that has a default provider. */
export function simulatedProviders({ url }: Simulator): Provider[] {
  const simulated = apiNames.filter((api) => apis[api].byDefault !== undefined);
  return simulated.map((api) => ({
    name: 'simulated',
    api,
    url: url + apis[api].pathInUrl,
    // The simulator needs no key. With a configured one, clients' own keys make no difference.
    apiKey: 'simulated',
    detach: undefined,
  }));
}
