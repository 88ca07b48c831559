import type { IncomingHttpHeaders } from 'node:http';
import { apis } from '../api.ts';
import type { Provider } from '../config/provider.ts';
import { type Credential, keyHeaders } from '../http/headers.ts';

/** The keys in a request, wherever the official SDKs put them. */
export function keysOf(headers: IncomingHttpHeaders, queryKey: string | undefined): string[] {
  const values = [/^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1], queryKey];
  for (const name of keyHeaders.slice(1)) values.push(headers[name]?.toString());
  return values.filter((value) => value !== undefined);
}

/**
 * The credential for a provider: its configured key, in its API's header. Without a configured key, the client's own
 * for this API.
 */
export function credentialFor(
  { api, apiKey, keyHeader }: Provider,
  headers: IncomingHttpHeaders,
  queryKey: string | undefined,
): Credential {
  const names = apis[api].keyHeaders;
  const [first] = names;
  const own = keyHeader ?? first;
  if (apiKey !== undefined) return { [own]: own === 'authorization' ? `Bearer ${apiKey}` : apiKey };
  // The key moves from the query to a header: a query stands in the logs of every proxy on the way.
  const credential: Record<string, string> = queryKey === undefined ? {} : { [first]: queryKey };
  for (const name of names) {
    const value = headers[name]?.toString();
    if (value !== undefined) credential[name] = value;
  }
  return credential;
}
