import { type Attributes, type Span, SpanKind, SpanStatusCode, type Tracer } from '@opentelemetry/api';
import type { CallEvent, CarrierCall } from '@spillway/voice';

/** A call, as its span describes it. */
export interface TracedCall {
  readonly call: CarrierCall;
  /** The API of its model: `openai-realtime`. */
  readonly api: string;
}

/**
 * Makes one span of a call, and returns who notes what happens in it. The span has no word of what was said, no digit and
 * no argument.
 */
export function startCallSpan(tracer: Tracer, { api, call }: TracedCall): (event: CallEvent) => void {
  const span = tracer.startSpan(`call ${call.carrier}`, {
    kind: SpanKind.SERVER,
    attributes: {
      'gen_ai.operation.name': 'call',
      'spillway.call': call.callId,
      'spillway.carrier': call.carrier,
      'spillway.model_api': api,
    },
  });
  return (event) => {
    if (event.kind === 'ended') end(span, event);
    else {
      const noted = attributesOf(event);
      if (noted !== undefined) span.addEvent(`spillway.${event.kind}`, noted);
    }
  };
}

/** What is noted of an event; `undefined`: nothing. */
function attributesOf(event: CallEvent): Attributes | undefined {
  switch (event.kind) {
    case 'ready':
      return { 'spillway.waited_ms': event.waitedMs };
    case 'answered':
      return { 'spillway.model_ms': event.thoughtMs, 'spillway.ear_ms': event.playedMs };
    case 'responseEnded':
      return {
        'spillway.state': event.state,
        ...(event.usage === undefined
          ? {}
          : {
              'gen_ai.usage.input_tokens': event.usage.inputTokens,
              'gen_ai.usage.output_tokens': event.usage.outputTokens,
            }),
      };
    case 'interrupted':
      return {
        'spillway.heard_ms': event.unheard.reduce((sum, { heardMs }) => sum + heardMs, 0),
        'spillway.dropped_ms': event.sentMs + event.waitingMs,
      };
    case 'cut':
      return { 'spillway.kept_ms': event.keptMs };
    case 'gap':
      return { 'spillway.from_ms': event.fromMs, 'spillway.to_ms': event.toMs };
    case 'missing':
    case 'underrun':
      return { 'spillway.ms': event.ms };
    case 'pressure':
      return { 'spillway.at': event.at, 'spillway.ms': event.ms, 'spillway.is_over': event.isOver };
    case 'reopening':
      return { 'spillway.code': event.code, 'spillway.in_ms': event.inMs };
    case 'toolEnded':
      return {
        'spillway.tool': event.name,
        'spillway.outcome': event.outcome,
        'spillway.took_ms': event.tookMs,
      };
    case 'warned':
      return { 'spillway.code': event.code };
    default:
      return undefined;
  }
}

function end(span: Span, { detail, reason }: Extract<CallEvent, { readonly kind: 'ended' }>): void {
  span.setAttribute('spillway.reason', reason);
  if (reason === 'model_failed') span.setStatus({ code: SpanStatusCode.ERROR, message: detail });
  span.end();
}
