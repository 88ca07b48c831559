import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Dispatcher } from 'undici';
import { Admission } from './admission.ts';
import type { ChatRequest } from './chat-request.ts';
import type { Provider, Settings } from './config/load.ts';
import { asGatewayError, GatewayError } from './errors.ts';
import { providerHeaders } from './headers.ts';
import type { Meter } from './meter.ts';
import type { Metrics } from './metrics.ts';
import { pipe } from './pipe.ts';
import { ClientResponse } from './sink/client-response.ts';
import { ProviderPools } from './source/provider-pools.ts';
import type { GatewayStream, ReaderEndReason, StreamState } from './stream.ts';
import type { Streams } from './streams.ts';

/** Where a request to a provider goes. */
interface Route {
  readonly authorization: string | undefined;
  /** Its connections are this credential's alone. */
  readonly dispatcher: Dispatcher;
  readonly path: string;
}

/** Relays requests to providers: one stream each, from its first byte to its one end. */
export class Relay {
  readonly #settings: Settings;
  readonly #streams: Streams;
  readonly #metrics: Metrics;
  readonly #meter: Meter;
  readonly #log: Logger;
  readonly #admission: Admission;
  readonly pools: ProviderPools;

  constructor(settings: Settings, streams: Streams, metrics: Metrics, log: Logger) {
    this.#settings = settings;
    this.#streams = streams;
    this.#metrics = metrics;
    this.#meter = metrics.meter;
    this.#log = log;
    this.#admission = new Admission(settings.config);
    this.pools = new ProviderPools(settings.config);
  }

  /** Answers a Chat Completions request. Never rejects: every error is told to the client. */
  async chat(request: ChatRequest, headers: IncomingHttpHeaders, raw: ServerResponse): Promise<void> {
    const response: ClientResponse = new ClientResponse(raw, () =>
      stream.stop(new GatewayError('client_left', 'The client left.')),
    );
    const stream = this.#streams.open(response);
    stream.wantsEvents = request.wantsEvents;
    let error: GatewayError | undefined;
    try {
      await this.#admission.run(() => this.#pipe(stream, request, headers), stream.signal);
    } catch (thrown) {
      error = asGatewayError(stream.signal.aborted ? stream.signal.reason : thrown);
      if (error.code === 'upstream_reported') response.end();
      else response.fail(error);
    }
    this.#ended(stream, request, error);
    // What was handed over may still have to reach a slow client, whose progress is watched on.
    await response.settled;
    this.#streams.close(stream);
  }

  #pipe(stream: GatewayStream, { provider, body }: ChatRequest, headers: IncomingHttpHeaders): Promise<void> {
    const { config } = this.#settings;
    const { authorization, dispatcher, path } = this.route(provider, '/chat/completions', headers);
    return pipe(stream, {
      config,
      dispatcher,
      request: { method: 'POST', path, headers: providerHeaders(headers, authorization), body },
      meter: this.#meter,
      onRetry: (reason, delayMs) => {
        this.#meter.retries += 1;
        this.#log.warn({ stream: stream.id, provider: provider.name, reason, delayMs }, 'trying again');
      },
    });
  }

  /**
   * Where a client's request to a provider goes, and with which credential: the provider's own key; where
   * none is configured, the client's header. A key that is for this gateway is never passed on.
   */
  route(provider: Provider, path: string, headers: IncomingHttpHeaders): Route {
    const { origin, pathname } = new URL(provider.url + path);
    const clientsOwn = this.#settings.apiKeys.length > 0 ? undefined : headers.authorization;
    const authorization = provider.apiKey === undefined ? clientsOwn : `Bearer ${provider.apiKey}`;
    return { authorization, dispatcher: this.pools.get(origin, authorization), path: pathname };
  }

  #ended(stream: GatewayStream, request: ChatRequest, error: GatewayError | undefined): void {
    const state: StreamState = stream.hasCompleted
      ? 'completed'
      : error?.isCancel === true
        ? 'cancelled'
        : 'failed';
    const ttftMs = stream.firstEventMs === undefined ? undefined : stream.firstEventMs - stream.startedMs;
    this.#metrics.streamEnded(state, readerEnd(error), ttftMs);
    const { id, events, bytes } = stream;
    const cause = error?.cause instanceof Error ? error.cause : undefined;
    this.#log[error?.code === 'internal_error' ? 'error' : 'info'](
      {
        stream: id,
        provider: request.provider.name,
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

function readerEnd(error: GatewayError | undefined): ReaderEndReason {
  switch (error?.code) {
    case undefined:
      return 'delivered';
    case 'client_left':
      return 'left';
    case 'reader_stalled':
      return 'stalled';
    default:
      return 'failed';
  }
}
