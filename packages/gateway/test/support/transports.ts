import { onTestFinished } from 'vitest';
import type { Transport } from '../../src/config/transport.ts';
import type { ReplyPool } from '../../src/source/exchange.ts';
import { ProviderPools } from '../../src/source/provider-pools.ts';
import { UndiciPool } from '../../src/source/undici/undici-pool.ts';
import type { Reader } from './readers.ts';

/** Nothing but another reader. */
const plainTransport: Transport = {
  id: 'test',
  http2: false,
  proxy: undefined,
  secureContext: undefined,
};

export interface TransportLimits {
  readonly maxStreams?: number;
  readonly connectTimeoutMs?: number;
  readonly responseTimeoutMs?: number;
  readonly maxHeaderBytes?: number;
}

/** The connections to an origin, until the test is over. A defect is thrown where nobody catches it. */
export function openPool(
  origin: string,
  reader: Reader | Transport,
  limits: TransportLimits = {},
): ReplyPool {
  const transport = reader === 'undici' ? plainTransport : reader === 'built-in' ? undefined : reader;
  const pools = new ProviderPools(
    {
      maxStreams: 2000,
      connectTimeoutMs: 10_000,
      responseTimeoutMs: 60_000,
      maxHeaderBytes: 16_384,
      ...limits,
    },
    (error) => {
      throw error;
    },
    UndiciPool,
  );
  onTestFinished(() => pools.destroy());
  return pools.get(origin, {}, transport);
}
