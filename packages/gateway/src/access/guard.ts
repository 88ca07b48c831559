import type { IncomingHttpHeaders } from 'node:http';
import type { ApiKeys } from './api-keys.ts';
import type { Caller } from '@spillway/server/access/caller';
import { digest, digestName } from '../config/api-key.ts';
import { isThisMachine } from '../config/loopback.ts';
import { keysOf } from './credential.ts';
import { GatewayError, invalidApiKey, keysUnavailable } from '@spillway/server/errors';

/**
 * Lets in only permitted requests. With API keys, those are requests with a key; without, requests from this machine.
 * A web page could reach a loopback address by a name of its own (DNS rebinding), send it a form, or load it as an
 * image. So the host name and the page's origin are checked, too. If the browser gives no origin, Fetch Metadata
 * shows whether another page sent the request.
 */
export class Guard {
  readonly #keys: ApiKeys;
  readonly #origins: ReadonlySet<string>;

  constructor(keys: ApiKeys, allowedOrigins: readonly string[]) {
    this.#keys = keys;
    this.#origins = new Set(allowedOrigins);
  }

  /** Whether clients need a key. */
  get needsKey(): boolean {
    return this.#keys.areRequired;
  }

  /** Whether a page of that origin may read the gateway's answers. */
  allows(origin: string): boolean {
    return this.#origins.has(origin) || (!this.#keys.areRequired && isThisMachine(hostnameOf(origin)));
  }

  /** The caller of a request, or the error with which the request is refused. */
  admit(headers: IncomingHttpHeaders, queryKey: string | undefined): Caller | GatewayError {
    const refusal = this.#keys.areRequired ? undefined : this.#hostRefusal(headers);
    return refusal ?? this.identify(headers, queryKey) ?? this.keyRefusal(headers, queryKey);
  }

  /** The caller with these keys; `undefined`: a key is needed, and none of these is accepted. */
  identify(headers: IncomingHttpHeaders, queryKey: string | undefined): Caller | undefined {
    const given = keysOf(headers, queryKey);
    if (!this.#keys.areRequired) {
      const [first] = given;
      return { name: first === undefined ? '' : digestName(digest(first)), tenant: '', owner: undefined };
    }
    const key = this.#keys.accept(given);
    return key && { name: key.name, tenant: key.tenant, owner: key.name };
  }

  /** Why none of the keys of a request is accepted. That one of them has ended is told to whoever has that very key. */
  keyRefusal(headers: IncomingHttpHeaders, queryKey: string | undefined): GatewayError {
    const given = keysOf(headers, queryKey);
    const ended = this.#keys.ended(given);
    if (ended === undefined) {
      // A client throws a key away that is refused: nobody is told so of one that may be in a store that cannot be read.
      return given.length === 0 || this.#keys.areAll ? invalidApiKey() : keysUnavailable();
    }
    const when = endText(ended.endedMs);
    const how = ended.key.revokedMs === undefined ? 'expired' : 'was revoked';
    return new GatewayError('invalid_api_key', `This API key ${how} ${when}: ask for another one.`);
  }

  /**
   * Why a WebSocket is refused; `undefined`: it is accepted. Browsers send no keys with the upgrade, so the frames
   * bring them.
   */
  upgradeRefusal(headers: IncomingHttpHeaders): GatewayError | undefined {
    if (!this.#keys.areRequired) return this.#hostRefusal(headers);
    const { host, origin } = headers;
    const isOwn = origin === undefined || (URL.canParse(origin) && new URL(origin).host === host);
    return isOwn || this.allows(origin) ? undefined : notAllowed('Its origin is none of allowedOrigins.');
  }

  /**
   * Why a page without data is refused; `undefined`: it is served. A link on any other page may lead to it, so Fetch
   * Metadata is not checked.
   */
  pageRefusal({ host, origin }: IncomingHttpHeaders): GatewayError | undefined {
    return this.#keys.areRequired ? undefined : this.#hostRefusal({ host, origin });
  }

  /**
   * Why a request that changes something is refused; `undefined`: it is not. Only this gateway's own page may send it,
   * or a program that is no browser. A page of another origin cannot send JSON without asking first, and is not allowed
   * to; nor can it hide its origin.
   */
  actionRefusal(headers: IncomingHttpHeaders): GatewayError | undefined {
    const { host, origin, 'content-type': type = '' } = headers;
    if (type.split(';')[0]?.trim().toLowerCase() !== 'application/json') {
      return new GatewayError(
        'invalid_request',
        `content-type: expected application/json, got ${type === '' ? 'none' : type.slice(0, 100)}.`,
      );
    }
    const isOwn = origin === undefined || (URL.canParse(origin) && new URL(origin).host === host);
    if (isOwn && isNoOtherPage(headers)) return undefined;
    return notAllowed('Only the console of this gateway may do that, and no page of another origin.');
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

/**
 * Whether a request without an origin comes from no other page (Fetch Metadata). Programs that are no browsers send
 * no such header.
 */
function isNoOtherPage({ 'sec-fetch-site': site }: IncomingHttpHeaders): boolean {
  return site === undefined || site === 'same-origin' || site === 'none';
}

const dayMs = 86_400_000;

/** A time by UTC; midnight as the end of the day before it, which is what its configuration says. */
function endText(dateMs: number): string {
  return dateMs % dayMs === 0
    ? `at the end of ${new Date(dateMs - 1).toISOString().slice(0, 10)} (UTC)`
    : `on ${new Date(dateMs).toISOString().slice(0, 16).replace('T', ' at ')} (UTC)`;
}

function notAllowed(message: string): GatewayError {
  return new GatewayError('host_not_allowed', message);
}

function hostnameOf(origin: string): string {
  return URL.canParse(origin) ? new URL(origin).hostname : origin;
}
