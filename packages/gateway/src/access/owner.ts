import type { IncomingHttpHeaders } from 'node:http';
import { type ApiKeys, digest } from './api-keys.ts';
import type { Provider } from '../config/load.ts';
import { credentialFor, keysOf } from './credential.ts';

/** What says whose a stream is. */
export interface Owned {
  /** Who may read it; see `ownerOf`. */
  readonly owner: string;
  readonly provider: Provider;
}

/**
 * Whose a stream is that a request opens, as far as keys tell: of whoever has this gateway's key; without such
 * keys, of whoever has the same key for the provider; where the gateway itself has that, of everybody.
 */
export function ownerOf(
  keys: ApiKeys,
  provider: Provider,
  headers: IncomingHttpHeaders,
  queryKey: string | undefined,
): string {
  if (keys.areRequired) return keys.accept(keysOf(headers, queryKey)) ?? '';
  if (provider.apiKey !== undefined) return '';
  return digest(JSON.stringify(credentialFor(provider, headers, queryKey))).toString('hex');
}

/** Whose the room is that a request's body takes: of whoever has this gateway's key; without such keys, of an address. */
export function bodyOwner(
  keys: ApiKeys,
  headers: IncomingHttpHeaders,
  queryKey: string | undefined,
  address: string,
): string {
  return keys.areRequired ? (keys.accept(keysOf(headers, queryKey)) ?? '') : address;
}

/** Whether a stream is of whoever brings these keys. */
export function isOwner(
  keys: ApiKeys,
  { owner, provider }: Owned,
  headers: IncomingHttpHeaders,
  queryKey?: string,
): boolean {
  return ownerOf(keys, provider, headers, queryKey) === owner;
}
