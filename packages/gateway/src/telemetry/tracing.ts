import {
  defaultTextMapSetter,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import { type Sampler, type SpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { TokenUsage } from '@spillway/core/format/format';
import type { CallEvent } from '@spillway/voice';
import type { IncomingHttpHeaders } from 'node:http';
import type { StreamClient } from '@spillway/server/access/stream-client';
import type { GatewayError } from '@spillway/server/errors';
import type { Provider } from '../config/provider.ts';
import type { Route } from '../http/route.ts';
import type { RealtimeEnd } from './realtime-end.ts';
import { maxJournalEntries } from '@spillway/server/stream/journal';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { StreamOutcome } from '@spillway/server/stream/stream-body';
import { startCallSpan, type TracedCall } from './call-span.ts';
import { clientContext, propagator } from './trace-context.ts';
import { operationOf } from '@spillway/server/telemetry/gen-ai';

/** The span of a stream, from its request to its end. */
export interface StreamSpan {
  /** The headers that make the provider's spans children of this one: W3C Trace Context. */
  readonly headers: Readonly<Record<string, string>>;
  readonly traceId: string;
  end(stream: GatewayStream, outcome: StreamOutcome, usage: TokenUsage | undefined): void;
}

/** The span of a realtime conversation, from its upgrade request to its end. */
export interface RealtimeSpan extends Pick<StreamSpan, 'headers' | 'traceId'> {
  end(end: RealtimeEnd, client: StreamClient): void;
  /** It did not begin. */
  fail(error: GatewayError): void;
}

/** A request, as far as its span describes it. */
export interface TracedRequest {
  /** The model as the client named it. */
  readonly model: string | undefined;
  readonly provider: Provider;
  readonly route: Route;
}

/** The longest attribute value. Clients choose the model's name, which can be long. */
const maxAttributeChars = 256;

/**
 * Makes one span for each stream. The stream's journal becomes the span's events: stalls, readers that came, left and
 * came back, gaps, the end. A span contains no prompt, no completion and no key.
 */
export class Tracing {
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;

  constructor(resource: Resource, spanProcessors: readonly SpanProcessor[], sampler: Sampler) {
    this.#provider = new TracerProvider({
      resource,
      sampler,
      spanProcessors: [...spanProcessors],
      spanLimits: { attributeValueLengthLimit: maxAttributeChars, eventCountLimit: maxJournalEntries },
    });
    this.#tracer = this.#provider.getTracer('spillway');
  }

  start(request: TracedRequest, headers: IncomingHttpHeaders): StreamSpan {
    const operation = operationOf(request.route.format?.name) ?? 'request';
    const { span, ...carried } = this.#begin(operation, request, headers);
    return { ...carried, end: (stream, outcome, usage) => endSpan(span, stream, outcome, usage) };
  }

  /** Starts the span of a realtime conversation. */
  startRealtime(request: TracedRequest, headers: IncomingHttpHeaders): RealtimeSpan {
    const { span, ...carried } = this.#begin('realtime', request, headers);
    return {
      ...carried,
      end: (end, client) => endRealtimeSpan(span, end, client),
      fail: ({ code, message }) => {
        span.setAttribute('error.type', code);
        span.setStatus({ code: SpanStatusCode.ERROR, message });
        span.end();
      },
    };
  }

  #begin(
    operation: string,
    { model = '', provider }: TracedRequest,
    headers: IncomingHttpHeaders,
  ): { readonly span: Span } & Pick<StreamSpan, 'headers' | 'traceId'> {
    const parent = clientContext(headers);
    const { hostname, port, protocol } = new URL(provider.url);
    const attributes = {
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': provider.name,
      'gen_ai.request.model': model,
      'server.address': hostname,
      'server.port': Number(port === '' ? defaultPorts[protocol] : port),
    };
    const name = `${operation} ${model.slice(0, maxAttributeChars)}`.trim();
    const span = this.#tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes }, parent);
    const carried: Record<string, string> = {};
    propagator.inject(trace.setSpan(parent, span), carried, defaultTextMapSetter);
    return { span, headers: carried, traceId: span.spanContext().traceId };
  }

  /** Begins the span of a call. Returns who notes what happens in it. */
  startCall(call: TracedCall): (event: CallEvent) => void {
    return startCallSpan(this.#tracer, call);
  }

  /** Pushes the last spans. */
  async close(): Promise<void> {
    await this.#provider.shutdown();
  }
}

const defaultPorts: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

function endSpan(
  span: Span,
  stream: GatewayStream,
  { error, state }: StreamOutcome,
  usage: TokenUsage | undefined,
): void {
  if (span.isRecording()) {
    for (const { atMs, detail, reader, type } of stream.journal.entries) {
      const about = reader === null ? {} : { 'spillway.reader': reader };
      span.addEvent(`spillway.${type}`, { ...about, 'spillway.detail': detail }, new Date(atMs));
    }
    const { caller, tenant } = stream.client;
    const seen = {
      'spillway.caller': caller || undefined,
      'spillway.tenant': tenant || undefined,
      'gen_ai.usage.input_tokens': usage?.inputTokens,
      'gen_ai.usage.output_tokens': usage?.outputTokens,
      'error.type': error?.code,
      'spillway.request': stream.requestId,
      'spillway.upstream_request': stream.upstreamRequestId,
    };
    for (const [name, value] of Object.entries(seen)) if (value !== undefined) span.setAttribute(name, value);
    span.setAttributes({
      'spillway.stream': stream.id,
      'spillway.state': state,
      'spillway.events': stream.events,
      'spillway.stalls': stream.stalls.count,
      'spillway.stall.seconds': stream.stalls.totalMs(stream.end?.atMs ?? stream.startedMs) / 1000,
    });
    // The gateway's own message: never text of a body.
    if (state === 'failed') span.setStatus({ code: SpanStatusCode.ERROR, message: error?.message ?? state });
  }
  span.end();
}

/** The reasons of an end that are a client's own wish, or the gateway's stop. */
const ordinary: ReadonlySet<string> = new Set(['client_closed', 'provider_closed', 'shutting_down']);

function endRealtimeSpan(span: Span, end: RealtimeEnd, { caller, tenant }: StreamClient): void {
  const { closeCode, reason, toClient, toProvider, usage } = end;
  const isOrdinary = ordinary.has(reason);
  const seen = {
    'spillway.caller': caller || undefined,
    'spillway.tenant': tenant || undefined,
    'gen_ai.usage.input_tokens': usage?.inputTokens,
    'gen_ai.usage.output_tokens': usage?.outputTokens,
    'error.type': isOrdinary ? undefined : reason,
    'spillway.ended': reason,
    'spillway.close_code': closeCode,
    'spillway.messages.to_client': toClient.messages,
    'spillway.messages.to_provider': toProvider.messages,
    'spillway.pauses': toClient.pauses + toProvider.pauses,
    'spillway.paused.seconds': (toClient.pausedMs + toProvider.pausedMs) / 1000,
  };
  for (const [name, value] of Object.entries(seen)) if (value !== undefined) span.setAttribute(name, value);
  if (!isOrdinary) span.setStatus({ code: SpanStatusCode.ERROR, message: reason });
  span.end();
}
