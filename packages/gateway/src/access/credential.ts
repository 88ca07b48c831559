import type { IncomingHttpHeaders } from 'node:http';
import { apis } from '../api.ts';
import type { Provider } from '../config/load.ts';
import { type Credential, keyHeaders } from '../http/headers.ts';

/** The keys that came with a request, in whichever way the official SDKs send them. */
export function keysOf(headers: IncomingHttpHeaders, queryKey: string | undefined): string[] {
  const values = [/^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1], queryKey];
  for (const name of keyHeaders.slice(1)) values.push(headers[name]?.toString());
  return values.filter((value) => value !== undefined);
}

/** The provider's configured key, in its API's header. Without one, what the client brought for this API. */
export function credentialFor(
  { api, apiKey, keyHeader }: Provider,
  headers: IncomingHttpHeaders,
  queryKey: string | undefined,
): Credential {
  const names = apis[api].keyHeaders;
  const [first] = names;
  const own = keyHeader ?? first;
  if (apiKey !== undefined) return { [own]: own === 'authorization' ? `Bearer ${apiKey}` : apiKey };
  // A key in a query would stand in the logs of everybody on the way.
  const credential: Record<string, string> = queryKey === undefined ? {} : { [first]: queryKey };
  for (const name of names) {
    const value = headers[name]?.toString();
    if (value !== undefined) credential[name] = value;
  }
  return credential;
}
