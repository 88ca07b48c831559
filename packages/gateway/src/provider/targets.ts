import type { IncomingHttpHeaders } from 'node:http';
import { credentialFor } from '../access/credential.ts';
import { apis } from '../api.ts';
import type { Provider } from '../config/load.ts';
import type { Credential } from '../http/headers.ts';
import { joinQueries } from '../http/queries.ts';
import { readTarget } from '../http/request-target.ts';
import { noSuchPath, type Route } from '../http/route.ts';
import type { ReplyPool } from '../source/exchange.ts';
import type { ProviderPools } from '../source/provider-pools.ts';

/** Where a request to a provider goes. */
export interface Target {
  readonly credential: Credential;
  /** Its connections are this credential's alone. */
  readonly pool: ReplyPool;
  readonly path: string;
}

export interface TargetsOptions {
  readonly pools: Pick<ProviderPools, 'get'>;
  /** Whether clients' keys are for this gateway: then none is passed on. */
  readonly areKeysOurs: boolean;
}

/** Says where requests go. */
export class Targets {
  readonly #pools: TargetsOptions['pools'];
  readonly #areKeysOurs: boolean;

  constructor({ areKeysOurs, pools }: TargetsOptions) {
    this.#pools = pools;
    this.#areKeysOurs = areKeysOurs;
  }

  /**
   * Where a client's request to a provider goes, and with which credential: the provider's own key; where
   * none is configured, the client's. A key that is for this gateway is never passed on.
   *
   * @throws {GatewayError} `not_found` for a path that leads out of what the provider's URL is the base of.
   */
  find(
    provider: Provider,
    { path, query, queryKey }: Pick<Route, 'path' | 'query' | 'queryKey'>,
    headers: IncomingHttpHeaders,
  ): Target {
    const { pathInUrl } = apis[provider.api];
    const base = new URL(provider.url);
    const rest = path.slice(pathInUrl.length);
    // The origin is the provider's, whatever is asked: only the part behind the base's path is the client's.
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
