import type { TokenUsage } from '@spillway/core/format/format';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { Admission } from '../access/admission.ts';
import { readsAnswersOnly } from '../http/answers-only.ts';
import { apis } from '../api.ts';
import { BusyLoop } from '../time/busy-loop.ts';
import type { Provider, Settings } from '../config/load.ts';
import { type Credential, credentialFor } from '../access/credential.ts';
import type { Defects } from '../process/defects.ts';
import { asGatewayError, GatewayError } from '../errors.ts';
import { providerHeaders } from '../http/headers.ts';
import { readTarget } from '../http/request-target.ts';
import type { EventMemory } from '../memory/event-memory.ts';
import { endUnanswered, pipe } from './fill.ts';
import { joinQueries } from '../http/queries.ts';
import type { RelayRequest } from './relay-request.ts';
import type { Route } from '../http/route.ts';
import { ClientResponse } from '../sink/client-response.ts';
import type { Paces } from '../sink/paces.ts';
import { type ProviderPool, ProviderPools } from '../source/provider-pools.ts';
import type { GatewayStream, StreamOutcome } from '../stream/stream.ts';
import { streamClient } from '../access/stream-client.ts';
import { clientLeft, type StreamReader } from '../stream/stream-reader.ts';
import type { Streams } from '../stream/streams.ts';
import { lastUsage } from '../telemetry/gen-ai.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { StreamSpan, Tracing } from '../telemetry/tracing.ts';

/** Where a request to a provider goes. */
export interface Target {
  readonly credential: Credential;
  /** Its connections are this credential's alone. */
  readonly pool: ProviderPool;
  readonly path: string;
}

/** Who sends a request. */
export interface Asker {
  readonly headers: IncomingHttpHeaders;
  /** IP address. */
  readonly address: string | undefined;
  /** The User-Agent of its connection, where the request itself has none. */
  readonly agent?: string | undefined;
  /** Whose the stream will be; see `ownerOf`. */
  readonly owner: string;
}

export interface RelayOptions {
  readonly settings: Settings;
  readonly streams: Streams;
  readonly metrics: Metrics;
  readonly paces: Paces;
  readonly tracing: Tracing | undefined;
  readonly log: Logger;
  readonly defects: Defects;
  readonly eventMemory: EventMemory;
}

/** Relays requests to providers: one stream each, from its first byte to its one end. */
export class Relay {
  readonly #settings: Settings;
  readonly #streams: Streams;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #defects: Defects;
  readonly #loop = new BusyLoop();
  readonly #paces: Paces;
  readonly #eventMemory: EventMemory;
  readonly #tracing: Tracing | undefined;
  readonly pools: ProviderPools;
  /** The places in which something may be asked of a provider. */
  readonly admission: Admission;

  /** Without `tracing`, no stream has a span, and a client's trace context goes on to the provider as it is. */
  constructor({ defects, eventMemory, log, metrics, paces, settings, streams, tracing }: RelayOptions) {
    this.#eventMemory = eventMemory;
    this.#settings = settings;
    this.#streams = streams;
    this.#metrics = metrics;
    this.#paces = paces;
    this.#tracing = tracing;
    this.#log = log;
    this.admission = new Admission(settings.config);
    this.#defects = defects;
    this.pools = new ProviderPools(settings.config, (error) => defects.caught('provider connection', error));
  }

  /** Answers a request by HTTP with a provider's reply, with `mergeMs` between two writes, if that is not 0. */
  answer(request: RelayRequest, asker: Asker, raw: ServerResponse, mergeMs: number): void {
    const stream = this.open(request, asker);
    const response = new ClientResponse(raw, {
      format: request.route.errors,
      paces: this.#paces,
      streamUrl: stream.url,
      mergeMs,
      answersOnly: readsAnswersOnly(asker.headers),
      onLeave: () => reader.leave(clientLeft('left')),
    });
    const reader: StreamReader = stream.attach(response, {
      wantsEvents: request.wantsEvents,
      address: asker.address,
    });
  }

  /** Asks a provider. Readers have to be attached in the same turn. */
  open(request: RelayRequest, asker: Asker): GatewayStream {
    const { model, provider, route } = request;
    const detach = provider.detach ?? this.#settings.config.detach;
    const { headers, owner } = asker;
    const client = streamClient(asker, route.queryKey);
    const holder = this.#settings.apiKeys.length === 0 ? client.address : owner;
    const stream = this.#streams.open({ provider, detach, owner, holder, model, client });
    this.#run(stream, request, headers).catch((error: unknown) => this.#defects.caught('relay', error));
    return stream;
  }

  /** Every error is told to the readers; it rejects only if that fails. */
  async #run(stream: GatewayStream, request: RelayRequest, headers: IncomingHttpHeaders): Promise<void> {
    let end: StreamOutcome = { state: 'completed', error: undefined };
    let span: StreamSpan | undefined;
    let hasPlace = false;
    try {
      span = this.#tracing?.start(request, headers);
      const carried = span === undefined ? headers : { ...headers, ...span.headers };
      await this.admission.enter(stream.signal);
      hasPlace = true;
      await this.#pipe(stream, request, carried);
    } catch (thrown) {
      const { signal } = stream;
      const error = asGatewayError(signal.aborted ? signal.reason : thrown);
      end = { state: error.isCancel ? 'cancelled' : 'failed', error };
    }
    request.body.letGo();
    let usage: TokenUsage | undefined;
    this.#defects.contain('account of a stream', () => {
      usage = lastUsage(stream);
      this.#metrics.streamEnded(stream, end, usage);
    });
    this.#defects.contain('end of a stream', () => {
      const { config } = this.#settings;
      if (end.error !== undefined) endUnanswered(stream, end.error, { config, errors: request.route.errors });
      this.#streams.ended(stream, end);
    });
    this.#defects.contain('report of a stream', () => {
      span?.end(stream, end, usage);
      this.#logEnd(stream, request, end);
    });
    if (!hasPlace) return;
    // What its readers have not got yet is bounded by the places, where there is no other room for it.
    if (!this.#streams.drain(stream)) await stream.delivered;
    this.admission.leave();
  }

  #pipe(stream: GatewayStream, request: RelayRequest, headers: IncomingHttpHeaders): Promise<void> {
    const { body, method, provider, route } = request;
    const { config } = this.#settings;
    const { credential, path, pool } = this.target(provider, { ...route, path: request.path }, headers);
    const sent = request.isDecoded ? { ...headers, 'content-encoding': undefined } : headers;
    return pipe(stream, {
      loop: this.#loop,
      eventMemory: this.#eventMemory,
      config,
      pool,
      format: route.format,
      errors: route.errors,
      wantsEvents: request.wantsEvents,
      request: { method, path, headers: providerHeaders(sent, credential), body },
      onRetry: (reason, delayMs) => {
        this.#streams.meter.retries += 1;
        stream.journal.add('retried', null, reason);
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
    const base = new URL(provider.url);
    const rest = path.slice(pathInUrl.length);
    // The origin is the provider's, whatever is asked: only the part behind the base's path is the client's.
    if (readTarget(path) !== path || !path.startsWith(pathInUrl) || !rest.startsWith('/')) {
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
      pool: this.pools.get(base.origin, credential),
      path: `${base.pathname.replace(/\/$/, '')}${rest}${joinQueries(provider.query, query)}`,
    };
  }

  #logEnd(stream: GatewayStream, request: RelayRequest, { error, state }: StreamOutcome): void {
    const { bytes, events, firstEventMs, id, startedMs } = stream;
    const ttftMs = firstEventMs === undefined ? undefined : firstEventMs - startedMs;
    const cause = error?.cause instanceof Error ? error.cause : undefined;
    if (error?.code === 'internal_error' && error.cause !== undefined) {
      this.#defects.caught(`stream ${id}`, error.cause);
    }
    this.#log[error?.code === 'internal_error' ? 'error' : 'info'](
      {
        stream: id,
        provider: request.provider.name,
        api: request.route.api,
        format: request.route.format?.name,
        path: request.route.path,
        model: request.model,
        address: stream.client.address,
        state,
        code: error?.code,
        // Ours, or of the connection: never a body's.
        reason: error?.message,
        cause: cause === undefined ? undefined : ((cause as NodeJS.ErrnoException).code ?? cause.name),
        events,
        bytes,
        ttftMs: ttftMs === undefined ? undefined : Math.round(ttftMs),
        durationMs: Math.round(performance.now() - startedMs),
      },
      'stream ended',
    );
  }
}
