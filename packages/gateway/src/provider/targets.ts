import type { IncomingHttpHeaders } from 'node:http';
import { credentialFor } from '../access/credential.ts';
import { apis } from '../api.ts';
import type { Provider } from '../config/provider.ts';
import type { Credential } from '../http/headers.ts';
import { joinQueries } from '../http/queries.ts';
import { readTarget } from '../http/request-target.ts';
import { noSuchPath, type Route } from '../http/route.ts';
import type { ReplyPool } from '../source/exchange.ts';
import type { ProviderPools } from '../source/provider-pools.ts';

/** The pool, path and credential of a request to a provider. */
export interface Target {
  readonly credential: Credential;
  /** The pool of this origin and credential: no other credential uses its connections. */
  readonly pool: ReplyPool;
  readonly path: string;
}

export interface TargetsOptions {
  readonly pools: Pick<ProviderPools, 'get'>;
  /** Whether clients' keys are for this gateway: then none is forwarded. */
  readonly areKeysOurs: boolean;
}

/** Finds the target of each request. */
export class Targets {
  readonly #pools: TargetsOptions['pools'];
  readonly #areKeysOurs: boolean;

  constructor({ areKeysOurs, pools }: TargetsOptions) {
    this.#pools = pools;
    this.#areKeysOurs = areKeysOurs;
  }

  /**
   * The target of a client's request. Its credential is the provider's configured key; without one, the
   * client's own key. A key that is for this gateway is never forwarded.
   *
   * @throws {GatewayError} `not_found` for a path outside of the provider's base URL.
   */
  find(
    provider: Provider,
    { path, query, queryKey }: Pick<Route, 'path' | 'query' | 'queryKey'>,
    headers: IncomingHttpHeaders,
  ): Target {
    const { pathInUrl } = apis[provider.api];
    const base = new URL(provider.url);
    const rest = path.slice(pathInUrl.length);
    // The client chooses only the part after the base URL's path, never the origin.
    if (readTarget(path) !== path || !path.startsWith(pathInUrl) || !rest.startsWith('/')) {
      throw noSuchPath(path);
    }
    const credential = credentialFor(
      provider,
      this.#areKeysOurs ? {} : headers,
      this.#areKeysOurs ? undefined : queryKey,
    );
    return {
      credential,
      pool: this.#pools.get(base.origin, credential, provider.transport),
      path: `${base.pathname.replace(/\/$/, '')}${rest}${joinQueries(provider.query, query)}`,
    };
  }
}
