import type { StreamClient } from '@spillway/server/access/stream-client';
import type { Defects } from '@spillway/server/defects';
import { GatewayError, type GatewayErrorCode } from '@spillway/server/errors';
import type { EndedReader } from '@spillway/server/stream/ended-reader';
import type { StreamOutcome } from '@spillway/server/stream/stream-body';
import type { StreamOrigin } from '@spillway/server/stream/stream-owner';
import type { Tap, TappedStream } from '@spillway/server/stream/tap';
import { TappedConversation } from '@spillway/server/tap/tapped-conversation';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { RealtimeEnd, RealtimeEndReason } from '../telemetry/realtime-end.ts';

/** A conversation that is about to begin. */
export interface RecordedConversationOptions {
  /** The id by which the log and taps know it. */
  readonly id: string;
  readonly requestId: string | undefined;
  readonly origin: StreamOrigin;
  readonly model: string | undefined;
  readonly client: StreamClient;
  readonly taps: Iterable<Tap>;
  readonly windowBytes: number;
  readonly clock: ServerClock;
  readonly defects: Pick<Defects, 'caught'>;
}

/** The codes of ends that no side wished; of the others a conversation is complete. */
const codes: Readonly<Partial<Record<RealtimeEndReason, GatewayErrorCode>>> = {
  client_invalid: 'invalid_request',
  client_lost: 'client_left',
  client_stalled: 'reader_stalled',
  provider_invalid: 'upstream_invalid',
  provider_lost: 'upstream_cut',
  provider_stalled: 'upstream_idle',
  failed: 'internal_error',
  max_duration: 'stream_timeout',
  overloaded: 'overloaded',
  shutting_down: 'shutting_down',
  tap_unavailable: 'tap_unavailable',
};

/** A relayed conversation, as taps know it. */
export class RecordedConversation {
  readonly conversation: TappedConversation;
  /** Called when a tap that has to keep it cannot. */
  onFailed: (error: GatewayError) => void = () => undefined;
  readonly #options: RecordedConversationOptions;
  readonly #stream: { -readonly [Name in keyof TappedStream]: TappedStream[Name] };

  /** @throws {GatewayError} `tap_unavailable` if a tap that has to keep it cannot. */
  constructor(options: RecordedConversationOptions) {
    this.#options = options;
    const { client, clock, defects, id, model, origin, requestId, taps, windowBytes } = options;
    this.#stream = {
      id,
      requestId,
      requestBody: undefined,
      upstreamRequestId: undefined,
      origin,
      model,
      client,
      events: 0,
      bytes: 0,
    };
    this.conversation = new TappedConversation({
      taps,
      stream: this.#stream,
      windowBytes,
      clock,
      defects,
      onFailed: (error) => this.onFailed(error),
    });
  }

  /** The provider has accepted. Resolves when that is kept, where that is asked for. */
  begin(upstreamRequestId: string | undefined): Promise<void> {
    this.#stream.upstreamRequestId = upstreamRequestId;
    return this.conversation.begin();
  }

  /** It did not begin. */
  refused(error: GatewayError): void {
    this.conversation.ended({ state: error.isCancel ? 'cancelled' : 'failed', error }, undefined);
  }

  ended({ limit, reason, toClient, usage }: RealtimeEnd): void {
    this.#stream.events = toClient.messages;
    this.#stream.bytes = toClient.bytes;
    const code = codes[reason];
    const error =
      limit ??
      (code === undefined ? undefined : new GatewayError(code, `The conversation ended: ${reason}.`));
    const state = error === undefined ? 'completed' : error.isCancel ? 'cancelled' : 'failed';
    const outcome: StreamOutcome = { state, error, usage };
    this.conversation.ended(outcome, this.#reader(error, toClient.messages));
  }

  /** The client, as the one reader. */
  #reader(error: GatewayError | undefined, messages: number): EndedReader {
    const { client, clock } = this.#options;
    return {
      number: 1,
      via: 'realtime',
      address: client.address,
      policy: 'block',
      atMs: clock.dateMs(),
      reason: error === undefined ? 'delivered' : error.isCancel ? 'left' : 'failed',
      error: error === undefined ? null : { code: error.code, message: error.message },
      tokens: messages,
      mergedEvents: 0,
      gaps: 0,
      lostTokens: 0,
      deliveredOffset: this.conversation.nextOffset,
      acknowledgedOffset: null,
    };
  }
}
