import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { Admission } from './admission.ts';
import { apis } from './api.ts';
import type { Provider, Settings } from './config/load.ts';
import { type Credential, credentialFor } from './credential.ts';
import { asGatewayError, GatewayError } from './errors.ts';
import { providerHeaders } from './headers.ts';
import type { Metrics } from './metrics.ts';
import { pipe } from './pipe.ts';
import type { RelayRequest } from './relay-request.ts';
import type { Route } from './route.ts';
import { ClientResponse } from './sink/client-response.ts';
import type { Paces } from './sink/paces.ts';
import { type ProviderPool, ProviderPools } from './source/provider-pools.ts';
import type { GatewayStream, StreamState } from './stream.ts';
import { clientLeft, type StreamReader } from './stream-reader.ts';
import type { Streams } from './streams.ts';

/** Where a request to a provider goes. */
interface Target {
  readonly credential: Credential;
  /** Its connections are this credential's alone. */
  readonly pool: ProviderPool;
  readonly path: string;
}

/** Relays requests to providers: one stream each, from its first byte to its one end. */
export class Relay {
  readonly #settings: Settings;
  readonly #streams: Streams;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #admission: Admission;
  readonly #paces: Paces;
  readonly pools: ProviderPools;

  constructor(settings: Settings, streams: Streams, metrics: Metrics, paces: Paces, log: Logger) {
    this.#settings = settings;
    this.#streams = streams;
    this.#metrics = metrics;
    this.#paces = paces;
    this.#log = log;
    this.#admission = new Admission(settings.config);
    this.pools = new ProviderPools(settings.config);
  }

  /** Answers a request by HTTP with a provider's reply. */
  answer(request: RelayRequest, headers: IncomingHttpHeaders, raw: ServerResponse, owner: string): void {
    const stream = this.open(request, headers, owner);
    const response = new ClientResponse(raw, {
      format: request.route.errors,
      paces: this.#paces,
      streamUrl: stream.url,
      onLeave: () => reader.leave(clientLeft('left')),
    });
    const reader: StreamReader = stream.attach(response, { wantsEvents: request.wantsEvents });
  }

  /** Asks a provider. Readers have to be attached in the same turn. `onEnd` is called when its part is over. */
  open(
    request: RelayRequest,
    headers: IncomingHttpHeaders,
    owner: string,
    onEnd?: () => void,
  ): GatewayStream {
    const detach = request.provider.detach ?? this.#settings.config.detach;
    const stream = this.#streams.open({ provider: request.provider, detach, owner });
    void this.#run(stream, request, headers).finally(onEnd);
    return stream;
  }

  /** Never rejects: every error is told to the readers. */
  async #run(stream: GatewayStream, request: RelayRequest, headers: IncomingHttpHeaders): Promise<void> {
    try {
      await this.#admission.run(() => this.#pipe(stream, request, headers), stream.signal);
      this.#ended(stream, request, 'completed', undefined);
    } catch (thrown) {
      const { signal } = stream;
      const error = asGatewayError(signal.aborted ? signal.reason : thrown);
      this.#ended(stream, request, error.isCancel ? 'cancelled' : 'failed', error);
    }
  }

  #pipe(stream: GatewayStream, request: RelayRequest, headers: IncomingHttpHeaders): Promise<void> {
    const { body, method, provider, route } = request;
    const { config } = this.#settings;
    const { credential, path, pool } = this.target(provider, { ...route, path: request.path }, headers);
    return pipe(stream, {
      config,
      pool,
      format: route.format,
      request: { method, path, headers: providerHeaders(headers, credential), body },
      onRetry: (reason, delayMs) => {
        this.#metrics.meter.retries += 1;
        this.#log.warn({ stream: stream.id, provider: provider.name, reason, delayMs }, 'trying again');
      },
    });
  }

  /**
   * Where a client's request to a provider goes, and with which credential: the provider's own key; where
   * none is configured, the client's. A key that is for this gateway is never passed on.
   *
   * @throws {GatewayError} `not_found` for a path that leads out of what the provider's URL is the base of.
   */
  target(
    provider: Provider,
    { path, query, queryKey }: Pick<Route, 'path' | 'query' | 'queryKey'>,
    headers: IncomingHttpHeaders,
  ): Target {
    const { pathInUrl } = apis[provider.api];
    const url = new URL(`${provider.url}${path.slice(pathInUrl.length)}${query === '' ? '' : `?${query}`}`);
    // The base, and the version where it is a part of the path: "..", in any spelling, ends before them.
    const version = pathInUrl === '' ? path.slice(0, path.indexOf('/', 1)) : '';
    if (!url.pathname.startsWith(new URL(`${provider.url}${version}/`).pathname)) {
      throw new GatewayError('not_found', `There is no ${path} here.`);
    }
    const isClientsOwn = this.#settings.apiKeys.length === 0;
    const credential = credentialFor(
      provider,
      isClientsOwn ? headers : {},
      isClientsOwn ? queryKey : undefined,
    );
    return {
      credential,
      pool: this.pools.get(url.origin, credential),
      path: url.pathname + url.search,
    };
  }

  #ended(
    stream: GatewayStream,
    request: RelayRequest,
    state: StreamState,
    error: GatewayError | undefined,
  ): void {
    const ttftMs = stream.firstEventMs === undefined ? undefined : stream.firstEventMs - stream.startedMs;
    this.#metrics.streamEnded(state, ttftMs);
    this.#streams.ended(stream, state, error);
    const { id, events, bytes } = stream;
    const cause = error?.cause instanceof Error ? error.cause : undefined;
    this.#log[error?.code === 'internal_error' ? 'error' : 'info'](
      {
        stream: id,
        provider: request.provider.name,
        api: request.route.api,
        format: request.route.format?.name,
        path: request.route.path,
        model: request.model,
        state,
        code: error?.code,
        // Ours, or of the connection: never a body's.
        reason: error?.message,
        cause: cause === undefined ? undefined : ((cause as NodeJS.ErrnoException).code ?? cause.name),
        ...(error?.code === 'internal_error' ? { err: cause } : {}),
        events,
        bytes,
        ttftMs: ttftMs === undefined ? undefined : Math.round(ttftMs),
        durationMs: Math.round(performance.now() - stream.startedMs),
      },
      'stream ended',
    );
  }
}
