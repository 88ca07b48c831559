import type { ConversationEvent } from '@spillway/core/format/conversation';
import type { Defects } from '@spillway/server/defects';
import { GatewayError } from '@spillway/server/errors';
import { StreamTokens } from '@spillway/server/stream/stream-token';
import type { Tap, TappedStream } from '@spillway/server/stream/tap';
import { TappedConversation } from '@spillway/server/tap/tapped-conversation';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { CallEvent, CarrierLeg, ModelUsage } from '@spillway/voice';
import { CallUsage } from './call-usage.ts';
import type { CallsOptions, CallWatcher } from './calls.ts';
import type { HearSound } from './heard-carrier.ts';

export interface RecordCallsOptions {
  readonly taps: Iterable<Tap>;
  /** The bytes that may wait for a tap. */
  readonly windowBytes: number;
  readonly clock: ServerClock;
  readonly defects: Pick<Defects, 'caught'>;
}

/**
 * Writes calls down, for taps: each is a conversation. A call cannot wait, so one ends that a tap holds back, or that a tap
 * which must lose nothing has no room for.
 */
export function recordCalls(options: RecordCallsOptions): CallsOptions['watch'] {
  const tokens = new StreamTokens(options.clock);
  return (carrier, model, end) => {
    try {
      return record(tokens.id(), carrier, model, end, options);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      end(error.message);
      return { saw: () => undefined };
    }
  };
}

function record(
  id: string,
  { call }: CarrierLeg,
  { api, model, provider, tenant }: Parameters<CallsOptions['watch']>[1],
  end: (detail: string) => void,
  { clock, defects, taps, windowBytes }: RecordCallsOptions,
): CallWatcher {
  let events = 0;
  const stream: TappedStream = {
    id,
    requestId: call.callId,
    requestBody: undefined,
    upstreamRequestId: undefined,
    origin: { name: provider, api },
    model,
    client: { address: '', agent: call.carrier, caller: '', tenant },
    get events() {
      return events;
    },
    bytes: 0,
  };
  const conversation = new TappedConversation({
    taps,
    stream,
    windowBytes,
    clock,
    defects,
    onFailed: ({ message }) => end(message),
  });
  if (!conversation.isRead) return { saw: () => undefined };
  conversation.asked();
  // Whoever it fails for hears so by `onFailed`.
  void conversation.begin().catch(() => undefined);
  if (conversation.isGated) end('A tap has a gate, and speech cannot wait until it is kept.');
  const spent = new CallUsage();
  const add = (told: ConversationEvent): void => {
    conversation.add(told);
    events += 1;
  };
  const endIfBehind = (): void => {
    if (conversation.isBehind) end('A tap that must lose nothing has no room.');
  };
  const saw: CallWatcher['saw'] = (event, limit) => {
    const hasUsage = spent.saw(event);
    for (const told of toldBy(event, hasUsage ? spent.total : undefined)) add(told);
    if (event.kind === 'ended') {
      const error = event.reason === 'limit' ? limit : errorOf(event);
      const state = error === undefined ? 'completed' : error.isCancel ? 'cancelled' : 'failed';
      conversation.ended({ state, error, usage: spent.total }, undefined);
    } else endIfBehind();
  };
  const heard: HearSound = (from, audio) => {
    add({ type: 'audio', from, data: Buffer.from(audio).toString('base64') });
    endIfBehind();
  };
  return { saw, heard: conversation.wantsAudio ? heard : undefined };
}

/** The error of a call that ended as nobody wished; `undefined`: it is complete. */
function errorOf({ reason }: Extract<CallEvent, { readonly kind: 'ended' }>): GatewayError | undefined {
  if (reason !== 'model_failed') return undefined;
  return new GatewayError('upstream_cut', `The call ended: ${reason}.`);
}

/** What an event of a call says in a conversation. `usage`: in all, where the event reports some. */
function toldBy(event: CallEvent, usage: ModelUsage | undefined): readonly ConversationEvent[] {
  switch (event.kind) {
    case 'heard':
      return [{ type: 'heard', text: event.text }];
    case 'said':
      return [{ type: 'said', item: event.itemId, text: event.text }];
    case 'interrupted':
      return event.unheard.map(({ heardMs, itemId, sentMs }, at) => {
        // What was never sent is the end of the last part.
        const waitingMs = at === event.unheard.length - 1 ? event.waitingMs : 0;
        const ofMs = Math.round(sentMs + waitingMs);
        return { type: 'interrupted', item: itemId, heardMs: Math.round(heardMs), ofMs };
      });
    case 'toolCalled':
      return [{ type: 'tool_called', call: event.callId, name: event.name, input: event.input }];
    case 'toolEnded':
      return [{ type: 'tool_answered', call: event.toolCallId, outcome: event.outcome }];
    case 'responseEnded':
    case 'used':
      return usage === undefined ? [] : [{ type: 'usage', ...usage }];
    case 'warned':
      return [{ type: 'failed', code: event.code, message: event.message }];
    default:
      return [];
  }
}
