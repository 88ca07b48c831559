import { type AudioFormat, msOfBytes } from '@spillway/core/audio';
import type { Clock, Timer } from '@spillway/core/clock';
import type { Speech } from '../speech.ts';
import type { Conversation, ConversationItem } from './conversation.ts';
import type { SimulatedModelFaults, SimulatedTurn } from './simulated-model-options.ts';
import { SpokenResponse } from './spoken-response.ts';

/** Why a response ended before its end. */
export type CancelReason = 'client_cancelled' | 'turn_detected';

/** What a response is made with. */
export interface SimulatedResponseOptions {
  readonly format: AudioFormat;
  /** Fields of the response that the session's settings determine. */
  readonly shape: Readonly<Record<string, unknown>>;
  readonly conversation: Conversation;
  /** What is said, or the tool that is asked for. */
  readonly content: Speech | NonNullable<SimulatedTurn['calls']>;
  readonly speed: number;
  readonly deltaMs: number;
  readonly thinkMs: number;
  /** Those that this response has. */
  readonly faults: SimulatedModelFaults;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly nextId: (kind: 'call' | 'item' | 'resp') => string;
  readonly send: (event: Readonly<Record<string, unknown>>) => void;
  readonly mayMake: () => boolean;
  readonly onCut: () => void;
  readonly onEnd: () => void;
}

/** One response, from `response.created` to `response.done`. */
export class SimulatedResponse {
  readonly id: string;
  /** The item that it makes; `undefined`: none yet. */
  itemId: string | undefined;
  state: 'cancelled' | 'completed' | 'failed' | 'in_progress' = 'in_progress';
  readonly #options: SimulatedResponseOptions;
  #item: ConversationItem | undefined;
  #timer: Timer | undefined;
  #spoken: SpokenResponse | undefined;
  #sentBytes = 0;

  constructor(options: SimulatedResponseOptions) {
    this.#options = options;
    this.id = options.nextId('resp');
  }

  /** The audio that was made, in milliseconds. */
  get madeMs(): number {
    return msOfBytes(this.#options.format, this.#sentBytes);
  }

  /** Begins. What comes of it comes later. */
  begin(): void {
    const { clock, content, faults, send, thinkMs } = this.#options;
    send({ type: 'response.created', response: this.#shape([]) });
    this.#timer = clock.after(thinkMs + (faults.lateMs ?? 0), () => {
      if (faults.isRateLimited) this.#fail();
      else if ('text' in content) this.#speak(content);
      else this.#call(content);
    });
  }

  /** Ends what was begun. */
  cancel(reason: CancelReason): void {
    this.stop();
    if (this.#item !== undefined) this.#endItem(this.#item, 'incomplete');
    this.#end('cancelled', { type: 'cancelled', reason });
  }

  /** Makes nothing more, without a word. */
  stop(): void {
    this.#timer?.stop();
    this.#spoken?.stop();
  }

  #fail(): void {
    const error = {
      type: 'tokens',
      code: 'rate_limit_exceeded',
      message: 'Rate limit reached. Please try again in 1s.',
    };
    this.#end('failed', { type: 'failed', error });
  }

  #call({ input, name }: NonNullable<SimulatedTurn['calls']>): void {
    const { nextId, send } = this.#options;
    const text = JSON.stringify(input);
    const call_id = nextId('call');
    const shape = { type: 'function_call', name, call_id };
    const item = this.#beginItem('nobody', shape, { ...shape, status: 'in_progress', arguments: '' });
    const place = { response_id: this.id, item_id: item.id, output_index: 0, call_id };
    send({ type: 'response.function_call_arguments.delta', ...place, delta: text });
    send({ type: 'response.function_call_arguments.done', ...place, name, arguments: text });
    item.text = text;
    this.#endItem(item, 'completed');
    this.#end('completed', null);
  }

  #speak(speech: Speech): void {
    const { clock, deltaMs, faults, format, mayMake, onCut, send, speed } = this.#options;
    const shape = { type: 'message', role: 'assistant' };
    const item = this.#beginItem('model', shape, { ...shape, status: 'in_progress', content: [] });
    const place = this.#placeOf(item);
    send({ type: 'response.content_part.added', ...place, part: { type: 'audio', transcript: '' } });
    this.#spoken = new SpokenResponse({
      speech,
      format,
      speed,
      deltaMs,
      clock,
      mayMake,
      stallAtMs: faults.stallAtMs,
      onDelta: (audio, text) => {
        item.bytes += audio.byteLength;
        item.text += text;
        this.#sentBytes += audio.byteLength;
        if (text !== '') send({ type: 'response.output_audio_transcript.delta', ...place, delta: text });
        send({ type: 'response.output_audio.delta', ...place, delta: Buffer.from(audio).toString('base64') });
        if (faults.cutAtMs !== undefined && this.madeMs >= faults.cutAtMs) onCut();
      },
      onEnd: () => {
        this.#endItem(item, 'completed');
        this.#end('completed', null);
      },
    });
    this.#spoken.make();
  }

  #beginItem(
    speaker: ConversationItem['speaker'],
    shape: ConversationItem['shape'],
    shown: Readonly<Record<string, unknown>>,
  ): ConversationItem {
    const { conversation, nextId, send } = this.#options;
    const previous_item_id = conversation.lastId;
    const item: ConversationItem = { id: nextId('item'), shape, speaker, text: '', bytes: 0 };
    this.#item = item;
    this.itemId = item.id;
    conversation.add(item);
    const told = { id: item.id, object: 'realtime.item', ...shown };
    send({ type: 'response.output_item.added', response_id: this.id, output_index: 0, item: told });
    send({ type: 'conversation.item.added', previous_item_id, item: told });
    return item;
  }

  #endItem(item: ConversationItem, status: 'completed' | 'incomplete'): void {
    const { send } = this.#options;
    if (item.speaker === 'model') {
      const place = this.#placeOf(item);
      const transcript = this.#spoken?.text ?? '';
      send({ type: 'response.output_audio.done', ...place });
      send({ type: 'response.output_audio_transcript.done', ...place, transcript });
      send({ type: 'response.content_part.done', ...place, part: { type: 'audio', transcript } });
    }
    const told = shownItem(item, status);
    send({ type: 'response.output_item.done', response_id: this.id, output_index: 0, item: told });
    send({ type: 'conversation.item.done', previous_item_id: null, item: told });
  }

  #end(state: 'cancelled' | 'completed' | 'failed', details: Readonly<Record<string, unknown>> | null): void {
    const { onEnd, send } = this.#options;
    this.state = state;
    const status = state === 'completed' ? 'completed' : 'incomplete';
    const output = this.#item === undefined ? [] : [shownItem(this.#item, status)];
    const limits = { name: 'requests', limit: 1000, remaining: 999, reset_seconds: 1 };
    send({ type: 'rate_limits.updated', rate_limits: [limits] });
    send({
      type: 'response.done',
      response: { ...this.#shape(output), status_details: details, usage: this.#usage() },
    });
    onEnd();
  }

  /** The real model takes a token for 50 ms that it says, and for 100 ms that it hears. */
  #usage(): Readonly<Record<string, unknown>> {
    const output_tokens = Math.ceil(this.madeMs / 50);
    const input_tokens = 100;
    return {
      total_tokens: input_tokens + output_tokens,
      input_tokens,
      output_tokens,
      input_token_details: { text_tokens: input_tokens, audio_tokens: 0, cached_tokens: 0 },
      output_token_details: { text_tokens: 0, audio_tokens: output_tokens },
    };
  }

  #shape(output: readonly unknown[]): Readonly<Record<string, unknown>> {
    return {
      object: 'realtime.response',
      id: this.id,
      status: this.state,
      status_details: null,
      output,
      usage: null,
      ...this.#options.shape,
    };
  }

  #placeOf(item: ConversationItem): Readonly<Record<string, unknown>> {
    return { response_id: this.id, item_id: item.id, output_index: 0, content_index: 0 };
  }
}

/** An item as the API shows it. */
export function shownItem(
  { id, shape, speaker, text }: ConversationItem,
  status: 'completed' | 'incomplete',
): Readonly<Record<string, unknown>> {
  const shown = { id, object: 'realtime.item', ...shape, status };
  if (speaker === 'model') return { ...shown, content: [{ type: 'output_audio', transcript: text }] };
  return shape['type'] === 'function_call' ? { ...shown, arguments: text } : shown;
}
