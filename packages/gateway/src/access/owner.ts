import type { IncomingHttpHeaders } from 'node:http';
import { digest } from '../config/api-key.ts';
import type { Provider } from '../config/provider.ts';
import type { Caller } from '@spillway/server/access/caller';
import { credentialFor } from './credential.ts';

/**
 * The owner of the stream that a request opens: its caller. If the gateway has no keys, all requests with the same
 * key for the provider are one owner. If the gateway itself has that key, all requests are one owner.
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
