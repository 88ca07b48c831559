import type { IncomingHttpHeaders } from 'node:http';
import type { ApiKeys } from './api-keys.ts';
import type { Caller } from '@spillway/server/access/caller';
import { digest, digestName } from '../config/api-key.ts';
import { isLoopback } from '../config/load.ts';
import { keysOf } from './credential.ts';
import { GatewayError, invalidApiKey } from '@spillway/server/errors';

/**
 * Lets only those in who may: with API keys, who has one; without, who is on this machine. A web page
 * could reach a loopback address under a name of its own (DNS rebinding), send it a form or show it as an image, so the name, the
 * page's origin and, where the browser does not tell that, whether it is another page's at all (Fetch Metadata) are checked too.
 */
export class Guard {
  readonly #keys: ApiKeys;
  readonly #origins: ReadonlySet<string>;

  constructor(keys: ApiKeys, allowedOrigins: readonly string[]) {
    this.#keys = keys;
    this.#origins = new Set(allowedOrigins);
  }

  /** Whether there are keys that clients need. */
  get needsKey(): boolean {
    return this.#keys.areRequired;
  }

  /** Whether a page of that origin may read what this gateway answers. */
  allows(origin: string): boolean {
    return this.#origins.has(origin) || (!this.#keys.areRequired && isThisMachine(hostnameOf(origin)));
  }

  /** Who sends a request, or why it is refused. */
  admit(headers: IncomingHttpHeaders, queryKey: string | undefined): Caller | GatewayError {
    const refusal = this.#keys.areRequired ? undefined : this.#hostRefusal(headers);
    return refusal ?? this.identify(headers, queryKey) ?? invalidApiKey();
  }

  /** Who brings these keys; `undefined`: a key is needed, and none of them is one. */
  identify(headers: IncomingHttpHeaders, queryKey: string | undefined): Caller | undefined {
    const given = keysOf(headers, queryKey);
    if (!this.#keys.areRequired) {
      const [first] = given;
      return { name: first === undefined ? '' : digestName(digest(first)), tenant: '', owner: undefined };
    }
    const key = this.#keys.accept(given);
    return key && { name: key.name, tenant: key.tenant, owner: key.name };
  }

  /** Why a WebSocket is refused. Browsers send no keys with it, so its frames bring them. */
  upgradeRefusal(headers: IncomingHttpHeaders): GatewayError | undefined {
    if (!this.#keys.areRequired) return this.#hostRefusal(headers);
    const { host, origin } = headers;
    const isOwn = origin === undefined || (URL.canParse(origin) && new URL(origin).host === host);
    return isOwn || this.allows(origin) ? undefined : notAllowed('Its origin is none of allowedOrigins.');
  }

  /** Why a page is refused that costs nothing and says nothing: a link to it may stand anywhere. */
  pageRefusal({ host, origin }: IncomingHttpHeaders): GatewayError | undefined {
    return this.#keys.areRequired ? undefined : this.#hostRefusal({ host, origin });
  }

  #hostRefusal(headers: IncomingHttpHeaders): GatewayError | undefined {
    const { host = '', origin } = headers;
    const isHere = isThisMachine(hostnameOf(`http://${host}`));
    const isAllowed = origin === undefined ? isNoOtherPage(headers) : this.allows(origin);
    if (isHere && isAllowed) return undefined;
    return notAllowed(
      'Without API keys, only requests to localhost, 127.0.0.1 or [::1] are answered, and only from pages there or of allowedOrigins.',
    );
  }
}

/** Whether a request without an origin is no other page's (Fetch Metadata); programs that are no browsers say nothing. */
function isNoOtherPage({ 'sec-fetch-site': site }: IncomingHttpHeaders): boolean {
  return site === undefined || site === 'same-origin' || site === 'none';
}

function notAllowed(message: string): GatewayError {
  return new GatewayError('host_not_allowed', message);
}

function isThisMachine(hostname: string): boolean {
  return isLoopback(hostname.replace(/^\[(.*)\]$/, '$1'));
}

function hostnameOf(origin: string): string {
  return URL.canParse(origin) ? new URL(origin).hostname : origin;
}
