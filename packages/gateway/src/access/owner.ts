import type { IncomingHttpHeaders } from 'node:http';
import { digest } from '../config/api-key.ts';
import type { Provider } from '../config/load.ts';
import type { Caller } from '@spillway/server/access/caller';
import { credentialFor } from './credential.ts';

/**
 * Whose a stream is that a request opens: its caller's; where the gateway has no keys, of whoever has the same key for the
 * provider; where the gateway itself has that, of everybody.
 */
export function ownerOf(
  { owner }: Caller,
  provider: Provider,
  headers: IncomingHttpHeaders,
  queryKey: string | undefined,
): string {
  if (owner !== undefined) return owner;
  if (provider.apiKey !== undefined) return '';
  return digest(JSON.stringify(credentialFor(provider, headers, queryKey))).toString('hex');
}
