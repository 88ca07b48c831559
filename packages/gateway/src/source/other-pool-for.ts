import type { Provider } from '../config/provider.ts';
import type { OtherPool } from './provider-pools.ts';

/** The pools of providers that the built-in reader does not reach. undici is loaded only if there are some. */
export async function otherPoolFor(providers: readonly Provider[]): Promise<OtherPool | undefined> {
  if (providers.every(({ transport }) => transport === undefined)) return undefined;
  return (await import('./undici/undici-pool.ts')).UndiciPool;
}
