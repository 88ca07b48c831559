import type { AudioFormat } from '@spillway/core/audio';
import { systemClock, type Clock, type Timer } from '@spillway/core/clock';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { randomBytes } from 'node:crypto';
import type { RawData, WebSocket } from 'ws';
import { speech } from '../speech.ts';
import { type ClientEvent, type ClientItem, parsedMessage, readClientEvent } from './client-event.ts';
import { Conversation, type ConversationItem } from './conversation.ts';
import { InputAudio } from './input-audio.ts';
import { ModelTruth, type SimulatedModelTruth } from './model-truth.ts';
import { Refusal } from './refusal.ts';
import { audioFormatOf, firstSettings, type SessionSettings, updatedSettings } from './session-settings.ts';
import {
  checkModelOptions,
  defaultScript,
  type SimulatedModelOptions,
  type SimulatedTurn,
} from './simulated-model-options.ts';
import { type CancelReason, shownItem, SimulatedResponse } from './simulated-response.ts';

/** While the connection holds more, no audio is made. */
const maxWaitingBytes = 1_048_576;
/** A client that takes nothing, and goes on asking: its connection is cut. */
const maxUntakenBytes = 16_777_216;
/** WebSocket close codes. */
const normal = 1000;
const goingAway = 1001;

/**
 * One session of a simulated model. One file, because each event of a client may speak, detect, answer and refuse.
 */
export class SimulatedModel {
  readonly #socket: WebSocket;
  readonly #options: SimulatedModelOptions;
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #conversation = new Conversation();
  readonly #truth = new ModelTruth();
  readonly #closed = Promise.withResolvers<void>();
  /** Only its randomness is used: the same seed, the same faults. */
  readonly #chance: Pick<Clock, 'random'>;
  readonly #tag = randomBytes(6).toString('hex');
  readonly #onMessage = (data: RawData, isBinary: boolean): void => this.#read(data, isBinary);
  readonly #age: Timer;
  readonly #input: InputAudio;
  #settings: SessionSettings;
  #response: SimulatedResponse | undefined;
  #lastId = 0;
  #speaking: { readonly itemId: string; readonly fromMs: number } | undefined;
  /** Turns of the human. */
  #turns = 0;
  #hasCalled = false;
  #hasSpoken = false;

  /** @throws {SpillwayError} `invalid_option` */
  constructor(socket: WebSocket, options: SimulatedModelOptions) {
    checkModelOptions(options);
    const { clock = systemClock, maxAgeMs = 3_600_000, model = 'gpt-realtime-2', seed = 1 } = options;
    this.#socket = socket;
    this.#options = options;
    this.#clock = clock;
    this.#chance = new VirtualClock({ seed });
    this.#settings = firstSettings(model);
    this.#input = new InputAudio(this.#settings.audio.input);
    socket.on('message', this.#onMessage);
    socket.once('close', () => this.#release());
    // The close that follows tells all.
    socket.on('error', () => {});
    this.#age = clock.after(maxAgeMs, () => this.#expire(maxAgeMs));
    this.#send({ type: 'session.created', session: this.#shownSession() });
  }

  /** What the model was told and has done until now. A copy. */
  get truth(): SimulatedModelTruth {
    return this.#truth.shown({
      receivedMs: this.#input.receivedMs,
      settings: this.#settings,
      said: this.#conversation.said,
    });
  }

  /** Resolves when the connection is closed and nothing is left. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** The bytes that the connection has not taken. No audio is made above 1 MiB. */
  get waitingBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** Closes the connection. Safe to call twice. */
  close(): void {
    this.#response?.stop();
    this.#socket.close(normal);
  }

  get #format(): AudioFormat {
    return audioFormatOf(this.#settings.audio.output.format);
  }

  #release(): void {
    this.#response?.stop();
    this.#age.stop();
    this.#socket.off('message', this.#onMessage);
    this.#closed.resolve();
  }

  #expire(maxAgeMs: number): void {
    const minutes = Math.max(1, Math.round(maxAgeMs / 60_000));
    this.#refuse(
      new Refusal('session_expired', `Your session hit the maximum duration of ${minutes} minutes.`),
      undefined,
    );
    this.#response?.stop();
    this.#socket.close(goingAway);
  }

  #read(data: RawData, isBinary: boolean): void {
    let eventId: string | undefined;
    let type = '';
    try {
      const message = parsedMessage(data, isBinary);
      if (typeof message === 'object' && message !== null) {
        if ('event_id' in message && typeof message.event_id === 'string') eventId = message.event_id;
        if ('type' in message && typeof message.type === 'string') type = message.type;
      }
      this.#take(readClientEvent(message));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#truth.refused({ event: type, code: error.code, message: error.message });
      this.#refuse(error, eventId);
    }
  }

  #take(event: ClientEvent): void {
    switch (event.type) {
      case 'session.update':
        this.#update(event.session);
        break;
      case 'input_audio_buffer.append':
        this.#hear(event.audio);
        break;
      case 'input_audio_buffer.commit':
        this.#commit(this.#nextId('item'), this.#input.bufferedFromMs);
        break;
      case 'input_audio_buffer.clear':
        this.#input.clear();
        this.#send({ type: 'input_audio_buffer.cleared' });
        break;
      case 'conversation.item.create':
        this.#create(event.item);
        break;
      case 'conversation.item.retrieve': {
        const item = this.#conversation.get(event.item_id);
        if (item === undefined)
          throw new Refusal(
            'item_retrieve_invalid_item_id',
            `Error retrieving item: the item with id '${event.item_id}' does not exist.`,
            'item_id',
          );
        this.#send({ type: 'conversation.item.retrieved', item: shownItem(item, 'completed') });
        break;
      }
      case 'conversation.item.delete':
        this.#conversation.remove(event.item_id);
        this.#truth.removed(event.item_id);
        this.#send({ type: 'conversation.item.deleted', item_id: event.item_id });
        break;
      case 'conversation.item.truncate': {
        const { audio_end_ms, content_index, item_id } = event;
        const madeMs = this.#conversation.truncate(item_id, content_index, audio_end_ms, this.#format);
        this.#truth.truncated({ itemId: item_id, audioEndMs: audio_end_ms, madeMs });
        this.#send({ type: 'conversation.item.truncated', item_id, content_index, audio_end_ms });
        break;
      }
      case 'response.create':
        this.#respond(event.response?.metadata ?? null);
        break;
      case 'response.cancel':
        this.#cancel(event.response_id);
        break;
    }
  }

  #update(update: Extract<ClientEvent, { type: 'session.update' }>['session']): void {
    const hasSpoken = this.#hasSpoken || (this.#response?.madeMs ?? 0) > 0;
    this.#settings = updatedSettings(this.#settings, update, hasSpoken);
    this.#input.use(this.#settings.audio.input);
    this.#send({ type: 'session.updated', session: this.#shownSession() });
  }

  #hear(base64: string): void {
    for (const { atMs, kind } of this.#input.append(base64)) {
      if (kind === 'started') this.#speechStarted(atMs);
      else this.#speechStopped(atMs);
    }
  }

  #speechStarted(atMs: number): void {
    this.#speaking = { itemId: this.#nextId('item'), fromMs: atMs };
    this.#send({
      type: 'input_audio_buffer.speech_started',
      audio_start_ms: Math.round(atMs),
      item_id: this.#speaking.itemId,
    });
    if (this.#settings.audio.input.turn_detection?.interrupt_response)
      this.#response?.cancel('turn_detected');
  }

  #speechStopped(atMs: number): void {
    if (this.#speaking === undefined) return;
    const { fromMs, itemId } = this.#speaking;
    this.#speaking = undefined;
    this.#send({
      type: 'input_audio_buffer.speech_stopped',
      audio_end_ms: Math.round(atMs),
      item_id: itemId,
    });
    this.#commit(itemId, fromMs);
    if (this.#settings.audio.input.turn_detection?.create_response) {
      // Refused as a client would be: the API's event has no event_id then.
      try {
        this.#respond(null);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        this.#refuse(error, undefined);
      }
    }
  }

  /** Makes an item of what the human said. */
  #commit(itemId: string, fromMs: number): void {
    this.#input.commit();
    this.#turns += 1;
    this.#hasCalled = false;
    const lengthMs = Math.round(this.#input.receivedMs - fromMs);
    const heard = this.#turn.heard ?? `(${lengthMs} ms of speech)`;
    this.#truth.heard({ itemId, fromMs, toMs: this.#input.receivedMs, heard });
    this.#send({
      type: 'input_audio_buffer.committed',
      previous_item_id: this.#conversation.lastId,
      item_id: itemId,
    });
    const content = [{ type: 'input_audio', transcript: null }];
    this.#addItem({
      id: itemId,
      shape: { type: 'message', role: 'user', content },
      speaker: 'human',
      text: heard,
      bytes: 0,
    });
    if (!this.#settings.audio.input.transcription) return;
    const place = { item_id: itemId, content_index: 0 };
    const type = 'conversation.item.input_audio_transcription';
    this.#send({ type: `${type}.delta`, ...place, delta: heard });
    const usage = { type: 'duration', seconds: lengthMs / 1000 };
    this.#send({ type: `${type}.completed`, ...place, transcript: heard, usage });
  }

  /** The turn of the script that the conversation is in. Before the human's first words, the first one. */
  get #turn(): SimulatedTurn {
    const { script = defaultScript() } = this.#options;
    const turn = script[Math.max(0, this.#turns - 1) % script.length];
    if (turn === undefined) throw new TypeError('The script has no turn.');
    return turn;
  }

  #create(item: ClientItem): void {
    const { id = this.#nextId('item'), ...shape } = item;
    let text = '';
    if (item.type === 'message') {
      text = item.content.map((part) => ('text' in part ? String(part.text) : '')).join(' ');
      this.#truth.told(item.role, text);
    } else if (item.type === 'function_call_output') {
      if (!this.#conversation.hasCall(item.call_id))
        throw new Refusal(
          'invalid_tool_call_id',
          `Tool call ID '${item.call_id}' not found in conversation.`,
          'item.call_id',
        );
      this.#truth.gotResult(item.call_id, item.output);
    }
    this.#addItem({
      id,
      shape,
      speaker: 'nobody',
      text: item.type === 'function_call' ? item.arguments : text,
      bytes: 0,
    });
  }

  #addItem(item: ConversationItem): void {
    const previous_item_id = this.#conversation.lastId;
    this.#conversation.add(item);
    const shown = shownItem(item, 'completed');
    this.#send({ type: 'conversation.item.added', previous_item_id, item: shown });
    this.#send({ type: 'conversation.item.done', previous_item_id, item: shown });
  }

  #respond(metadata: Readonly<Record<string, string>> | null): void {
    if (this.#response !== undefined)
      throw new Refusal(
        'conversation_already_has_active_response',
        `Conversation already has an active response in progress: ${this.#response.id}. Wait until the response is finished before creating a new one.`,
      );
    const {
      deltaMs = 200,
      faults = {},
      greeting = speech('model-greeting'),
      speed = 10,
      thinkMs = 300,
    } = this.#options;
    const { max_output_tokens, output_modalities } = this.#settings;
    const turn = this.#turn;
    const calls =
      this.#turns > 0 && !this.#hasCalled && this.#hasTool(turn.calls?.name) ? turn.calls : undefined;
    if (calls !== undefined) this.#hasCalled = true;
    const response = new SimulatedResponse({
      format: this.#format,
      shape: {
        conversation_id: `conv_${this.#tag}`,
        max_output_tokens,
        output_modalities,
        metadata,
        audio: { output: this.#settings.audio.output },
      },
      conversation: this.#conversation,
      content: calls ?? (this.#turns === 0 ? greeting : turn.says),
      speed,
      deltaMs,
      thinkMs,
      faults: this.#chance.random() < (faults.share ?? 1) ? faults : {},
      clock: this.#clock,
      nextId: (kind) => this.#nextId(kind),
      send: (event) => this.#send(event),
      mayMake: () => this.#socket.bufferedAmount < maxWaitingBytes,
      onCut: () => this.#socket.terminate(),
      onEnd: () => {
        this.#response = undefined;
        const { id, itemId, madeMs, state } = response;
        this.#hasSpoken ||= madeMs > 0;
        this.#truth.responded({ id, itemId, madeMs, state });
      },
    });
    this.#response = response;
    response.begin();
  }

  #hasTool(name: string | undefined): boolean {
    return (
      name !== undefined &&
      (this.#settings.tools ?? []).some((tool) => tool.type === 'function' && tool.name === name)
    );
  }

  #cancel(responseId: string | undefined, reason: CancelReason = 'client_cancelled'): void {
    const response = this.#response;
    if (response === undefined || (responseId !== undefined && responseId !== response.id))
      throw new Refusal('response_cancel_not_active', 'Cancellation failed: no active response found');
    this.#truth.cancelled();
    response.cancel(reason);
  }

  #shownSession(): Readonly<Record<string, unknown>> {
    return { object: 'realtime.session', id: `sess_${this.#tag}`, ...this.#settings };
  }

  #refuse({ code, message, param }: Refusal, eventId: string | undefined): void {
    const error = { type: 'invalid_request_error', code, message, param, event_id: eventId ?? null };
    this.#send({ type: 'error', error });
  }

  #nextId(kind: 'call' | 'event' | 'item' | 'resp'): string {
    return `${kind}_${this.#tag}${(this.#lastId += 1)}`;
  }

  #send(event: Readonly<Record<string, unknown>>): void {
    const socket = this.#socket;
    if (socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount > maxUntakenBytes) socket.terminate();
    else socket.send(JSON.stringify({ event_id: this.#nextId('event'), ...event }));
  }
}

/**
 * Puts a simulated realtime model at the server's end of a WebSocket: it speaks as OpenAI's Realtime API does and refuses what
 * that refuses, and its words are clips. Call it in the turn in which the connection is accepted. The socket is its own from
 * now on; its `maxPayload` should be 22 MiB, for 15 MiB of audio in base64.
 *
 * Speech is detected by level, on the time of the audio that came, so that a test may send an hour in a second. It does
 * not transcribe: the script says what was understood. `docs/voice-doubles.md` says what else it does otherwise.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * new WebSocketServer({ port, maxPayload: 23_068_672 }).on('connection', (socket) => {
 *   const model = openSimulatedModel(socket, { speed: 10 });
 *   void model.closed.then(() => console.log(model.truth.truncations));
 * });
 * ```
 */
export function openSimulatedModel(socket: WebSocket, options: SimulatedModelOptions = {}): SimulatedModel {
  return new SimulatedModel(socket, options);
}
