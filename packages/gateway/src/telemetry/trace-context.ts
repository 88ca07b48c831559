import type { IncomingHttpHeaders } from 'node:http';
import { type Context, defaultTextMapGetter, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';

/** Reads and writes `traceparent` and `tracestate` (W3C Trace Context). */
export const propagator = new W3CTraceContextPropagator();

/** The trace context that a client sent; the root context, if it sent none or an invalid one. */
export function clientContext(headers: IncomingHttpHeaders): Context {
  return propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
}

/** The id of the client's trace, for logs; `undefined`: it sent none. */
export function traceIdOf(headers: IncomingHttpHeaders): string | undefined {
  if (headers['traceparent'] === undefined) return undefined;
  return trace.getSpanContext(clientContext(headers))?.traceId;
}
