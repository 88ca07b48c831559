import { type AudioFormat, bytesPerSample, type SpokenPart, telephoneAudio } from '@spillway/core/audio';
import { systemClock } from '@spillway/core/clock';
import type { Utterance } from '../call/conversation.ts';
import { bytesOfBase64 } from './base64.ts';
import type { ModelEvent, ModelLeg, ModelUsage, ResponseState } from './model-leg.ts';
import { ModelSocket } from './model-socket.ts';
import { readRealtimeEvent, type RealtimeEvent } from './openai-realtime-events.ts';
import { checkOptions, type OpenAiRealtimeOptions, sessionSettings } from './openai-realtime-options.ts';
import { ResponseTurns } from './response-turns.ts';
import { SentAudio } from './sent-audio.ts';

/** The most calls of tools that are open. */
const maxOpenCalls = 64;
/** The longest text of somebody else that is passed on in a message, in characters. */
const maxTextLength = 300;

/** Errors after which the API's session does not go on, and what they are called here. */
const fatalCodes = new Map([
  ['session_expired', 'expired'],
  ['invalid_api_key', 'unauthorized'],
  ['model_not_found', 'refused'],
  ['insufficient_quota', 'rate_limited'],
]);

const sessionEventId = 'spillway_session';
/** In the metadata of a response: the event that asked for it. */
const requestField = 'spillway_event';
const responseStates: readonly string[] = [
  'cancelled',
  'completed',
  'failed',
  'incomplete',
] satisfies ResponseState[];

type EventOf<Type extends RealtimeEvent['type']> = Extract<RealtimeEvent, { readonly type: Type }>;

class OpenAiRealtime implements ModelLeg {
  readonly api = 'openai-realtime';
  readonly input: AudioFormat;
  readonly output: AudioFormat;
  readonly answersItself: boolean;
  readonly #apiKey: string | undefined;
  readonly #past: OpenAiRealtimeOptions['past'];
  readonly #socket: ModelSocket;
  readonly #sent: SentAudio;
  readonly #turns: ResponseTurns;
  readonly #openCalls = new Set<string>();
  #listener: ((event: ModelEvent) => void) | undefined;
  #isReady = false;
  #lastEvent = 0;

  constructor(options: OpenAiRealtimeOptions) {
    const url = checkOptions(options);
    const { apiKey, format = telephoneAudio, headers = {} } = options;
    this.#apiKey = apiKey;
    this.#past = options.past;
    this.input = format;
    this.output = format;
    this.answersItself = options.answersItself ?? true;
    this.#turns = new ResponseTurns(
      {
        create: ({ instructions }) => {
          const eventId = `spillway_${(this.#lastEvent += 1)}`;
          // The API repeats this in what it begins, so that it is told from what it begins by itself.
          const metadata = { [requestField]: eventId };
          const response = { metadata, ...(instructions === undefined ? {} : { instructions }) };
          this.#say({ type: 'response.create', event_id: eventId, response });
          return eventId;
        },
        cancel: (id) =>
          this.#say({ type: 'response.cancel', ...(id === undefined ? {} : { response_id: id }) }),
      },
      options.clock ?? systemClock,
    );
    this.#socket = new ModelSocket({
      url,
      headers: { ...headers, ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }) },
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      keepAliveMs: options.keepAliveMs ?? 10_000,
      maxMessageBytes: options.maxMessageBytes ?? 1_048_576,
      clock: options.clock,
      onOpen: () =>
        this.#say({ type: 'session.update', event_id: sessionEventId, session: sessionSettings(options) }),
      onText: (text) => this.#read(text),
      onEnd: (code, message) => {
        this.#turns.close();
        this.#listener?.({ kind: 'ended', code, message });
      },
    });
    this.#sent = new SentAudio(format, this.#socket, () => this.#emit({ kind: 'drained' }));
  }

  get bufferedMs(): number {
    return this.#sent.bufferedMs;
  }

  get unconfirmedMs(): number {
    return this.#sent.unconfirmedMs;
  }

  listen(listener: (event: ModelEvent) => void): void {
    this.#listener = listener;
    this.#socket.read();
  }

  send(audio: Uint8Array): void {
    if (this.#socket.isOver || !this.#isReady) return;
    const bytes = audio.byteLength;
    const base64 = Buffer.from(audio.buffer, audio.byteOffset, bytes).toString('base64');
    this.#sent.send(`{"type":"input_audio_buffer.append","audio":"${base64}"}`, bytes);
  }

  cancel(): void {
    this.#turns.stop();
  }

  truncate({ contentIndex, itemId }: SpokenPart, heardMs: number): void {
    this.#say({
      type: 'conversation.item.truncate',
      item_id: itemId,
      content_index: contentIndex,
      audio_end_ms: Math.floor(heardMs),
    });
  }

  remove(itemId: string): void {
    this.#say({ type: 'conversation.item.delete', item_id: itemId });
  }

  respond(instructions?: string): void {
    if (this.#isReady) this.#turns.ask({ instructions });
  }

  tell(text: string): void {
    this.#tellAs('caller', text);
  }

  giveResult(callId: string, output: string): void {
    this.#say({
      type: 'conversation.item.create',
      item: { type: 'function_call_output', call_id: callId, output },
    });
    this.#openCalls.delete(callId);
    // A response may ask for several tools: the answer is to know all results.
    if (this.#openCalls.size === 0) this.respond();
  }

  close(): void {
    this.#turns.close();
    this.#socket.close();
  }

  #tellAs(who: Utterance['role'], text: string): void {
    const [role, type] = who === 'caller' ? ['user', 'input_text'] : ['assistant', 'output_text'];
    this.#say({
      type: 'conversation.item.create',
      item: { type: 'message', role, content: [{ type, text }] },
    });
  }

  #read(text: string): void {
    const event = readRealtimeEvent(text);
    if (event === 'ignored') return;
    if ('wrong' in event) this.#socket.refuse(`what is not understood: ${event.wrong}`);
    else this.#take(event);
  }

  #take(event: RealtimeEvent): void {
    switch (event.type) {
      case 'session.updated':
        if (this.#isReady) break;
        this.#isReady = true;
        for (const { role, text } of this.#past ?? []) this.#tellAs(role, text);
        this.#emit({ kind: 'ready' });
        break;
      case 'response.created':
        this.#turns.began(event.response.id, event.response.metadata?.[requestField]);
        this.#emit({ kind: 'responseStarted', responseId: event.response.id });
        break;
      case 'response.output_audio.delta':
        this.#takeAudio(event);
        break;
      case 'response.output_audio.done':
        this.#emit({ kind: 'audioEnded', ...placeOf(event) });
        break;
      case 'response.output_audio_transcript.delta':
        this.#emit({ kind: 'said', ...placeOf(event), text: event.delta, isWhole: false });
        break;
      case 'response.output_audio_transcript.done':
        this.#emit({ kind: 'said', ...placeOf(event), text: event.transcript, isWhole: true });
        break;
      case 'response.output_item.done':
        this.#takeCall(event);
        break;
      case 'response.done':
        this.#endResponse(event);
        break;
      case 'conversation.item.input_audio_transcription.delta':
        this.#emit({ kind: 'heard', itemId: event.item_id, text: event.delta, isWhole: false });
        break;
      case 'conversation.item.input_audio_transcription.completed':
        this.#emit({ kind: 'heard', itemId: event.item_id, text: event.transcript, isWhole: true });
        if (event.usage) this.#emit({ kind: 'used', usage: usageOf(event.usage) });
        break;
      case 'input_audio_buffer.speech_started':
        this.#emit({ kind: 'speechStarted', atMs: event.audio_start_ms });
        break;
      case 'input_audio_buffer.speech_stopped':
        this.#emit({ kind: 'speechStopped', atMs: event.audio_end_ms });
        break;
      case 'error':
        this.#takeError(event);
        break;
    }
  }

  #takeAudio(event: EventOf<'response.output_audio.delta'>): void {
    const audio = bytesOfBase64(event.delta);
    if (audio === undefined || audio.byteLength % bytesPerSample(this.output) !== 0)
      this.#socket.refuse('audio that is no base64 of whole samples');
    else if (audio.byteLength > 0) this.#emit({ kind: 'audio', ...placeOf(event), audio });
  }

  /**
   * Arguments count with the end of their item, which says whether they are whole: `function_call_arguments.done` comes for
   * a response that was cut, too.
   */
  #takeCall({ item, response_id: responseId }: EventOf<'response.output_item.done'>): void {
    const { arguments: input, call_id: callId, name, status, type } = item;
    if (type !== 'function_call' || status === 'incomplete') return;
    if (callId === undefined || name === undefined || input === undefined) {
      this.#socket.refuse('a call of a tool without a name, a call_id or arguments');
      return;
    }
    if (this.#openCalls.size < maxOpenCalls) this.#openCalls.add(callId);
    this.#emit({ kind: 'toolCalled', responseId, callId, name, input });
  }

  #endResponse({ response }: EventOf<'response.done'>): void {
    const { id, status, status_details: details, usage } = response;
    if (details?.error) this.#warn(details.error.code ?? 'response_failed', details.error.message);
    this.#emit({
      kind: 'responseEnded',
      responseId: id,
      state: isResponseState(status) ? status : 'failed',
      usage: usage ? usageOf(usage) : undefined,
    });
    this.#turns.ended(id);
  }

  #takeError({ error: { code, event_id: eventId, message, param } }: EventOf<'error'>): void {
    const fatal = fatalCodes.get(code ?? '');
    if (fatal !== undefined) this.#socket.fail(fatal, this.#cleaned(message));
    else if (eventId === sessionEventId)
      this.#socket.fail(
        'refused',
        this.#cleaned(`It refused the settings, ${param ?? 'without a name'}: ${message}`),
      );
    // The response had ended meanwhile: that was the aim.
    else if (code !== 'response_cancel_not_active') {
      const isBusy = code === 'conversation_already_has_active_response';
      this.#turns.refused(eventId ?? undefined, isBusy);
      if (!isBusy) this.#warn(code ?? 'error', message);
    }
  }

  #warn(code: string, message: string): void {
    this.#emit({ kind: 'warned', code: this.#cleaned(code), message: this.#cleaned(message) });
  }

  /** A text of the other side, without the key and not too long. */
  #cleaned(text: string): string {
    const key = this.#apiKey;
    return (key === undefined ? text : text.replaceAll(key, '…')).slice(0, maxTextLength);
  }

  #say(event: object): void {
    this.#socket.write(JSON.stringify(event));
  }

  #emit(event: ModelEvent): void {
    if (!this.#socket.isOver) this.#listener?.(event);
  }
}

/** Where audio or words belong. */
function placeOf(event: { response_id: string; item_id: string; content_index: number }): {
  readonly responseId: string;
  readonly part: SpokenPart;
} {
  return {
    responseId: event.response_id,
    part: { itemId: event.item_id, contentIndex: event.content_index },
  };
}

function isResponseState(text: string): text is ResponseState {
  return responseStates.includes(text);
}

function usageOf(usage: { readonly input_tokens: number; readonly output_tokens: number }): ModelUsage {
  return { inputTokens: usage.input_tokens, outputTokens: usage.output_tokens };
}

/**
 * Connects to OpenAI's Realtime API, or to one that speaks as it does: its names of today, and those of its beta. The leg is
 * `ready` when the API has taken the session's settings; audio that is sent before is left out. Speech is detected by the
 * API, which answers a human that has stopped speaking; to stop an answer is the call's part. The `atMs` of `speechStarted`
 * lies before the speech by what the API puts in front of it (300 ms).
 *
 * - `bufferedMs` counts the audio of the messages that the operating system has not taken, and not their bytes: 20 ms of
 *   telephone audio are 160 bytes, and 271 as a message. `drained` says that it has fallen to 100 ms or less after it was
 *   above, or that some audio has arrived: a ping follows 160 ms of it, and the answer to the ping confirms it.
 * - A tool is asked for when its arguments are whole. One response follows the results of all that was asked for.
 * - Refusals of the API are `warned`, with its code; so is why a response failed, before `responseEnded`.
 *
 * `ended` has one of these codes: `unreachable` (no connection came about), `unauthorized` (the key), `rate_limited`, `refused`
 * (the connection, the model or the settings), `expired` (the session's maximum age), `lost` (it closed the connection, or
 * gave no sign), `bad_message` (binary, no JSON, a known event in another shape, too large: closed with 1003, 1008 or 1009)
 * and `overflow` (its socket holds more than 1 MiB). No message has the key.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const model = openOpenAiRealtime({ model: 'gpt-realtime-2', apiKey, instructions: 'You answer for a library.' });
 * const call = openCall({ carrier, model, greeting: 'Greet the caller.' });
 * ```
 */
export function openOpenAiRealtime(options: OpenAiRealtimeOptions): ModelLeg {
  return new OpenAiRealtime(options);
}
