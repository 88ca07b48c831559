import type { IncomingHttpHeaders } from 'node:http';
import { digest } from '../config/api-key.ts';
import type { Provider } from '../config/load.ts';
import type { Caller } from './caller.ts';
import { credentialFor } from './credential.ts';

/** What says whose a stream is. */
export interface Owned {
  /** Who may read it; see `ownerOf`. */
  readonly owner: string;
  readonly provider: Provider;
}

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

/** Whose the room is that a request takes, its body or its history: its caller's; where the gateway has no keys, an address's. */
export function holderOf({ owner }: Caller, address: string): string {
  return owner ?? address;
}

/** Whether a caller who brings these keys may read a stream. */
export function isOwner(
  caller: Caller,
  { owner, provider }: Owned,
  headers: IncomingHttpHeaders,
  queryKey?: string,
): boolean {
  return ownerOf(caller, provider, headers, queryKey) === owner;
}
