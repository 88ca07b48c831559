import { type AudioFormat, type SpokenPart, telephoneAudio } from '@spillway/core/audio';
import { systemClock, type Clock, type Timer } from '@spillway/core/clock';
import { bytesOfBase64 } from './base64.ts';
import { CallerSound } from './caller-sound.ts';
import { geminiEndOf, type GeminiMessage, msOfDuration, readGeminiMessage } from './gemini-live-messages.ts';
import { checkGeminiOptions, type GeminiLiveOptions, geminiSetup, pastTurns } from './gemini-live-options.ts';
import { GeminiTurns } from './gemini-turns.ts';
import type { ModelEvent, ModelLeg } from './model-leg.ts';
import { ModelSocket } from './model-socket.ts';
import { resampledModel } from './resampled-model.ts';
import { SentAudio } from './sent-audio.ts';

/** What the API takes, and what it makes. */
const taken: AudioFormat = { encoding: 'pcm16', sampleRateHz: 16_000 };
const made: AudioFormat = { encoding: 'pcm16', sampleRateHz: 24_000 };

/** The most calls of tools that are open. */
const maxOpenCalls = 64;
/** The longest text of somebody else that is passed on in a message, in characters. */
const maxTextLength = 300;
/** A session that is told to go has gone so long before it would be cut. */
const leaveEarlyMs = 1000;
/** How an answer is asked for where nothing else is to be said: the API answers texts and voices. */
const goOn = 'Please go on.';

class GeminiLive implements ModelLeg {
  readonly api = 'gemini-live';
  readonly input = taken;
  readonly output = made;
  readonly answersItself = true;
  readonly #options: GeminiLiveOptions;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #socket: ModelSocket;
  readonly #sent: SentAudio;
  readonly #sound = new CallerSound(taken);
  readonly #turns: GeminiTurns;
  /** The names of the tools that were asked for, by the ids of the calls. */
  readonly #openCalls = new Map<string, string>();
  #listener: ((event: ModelEvent) => void) | undefined;
  #isReady = false;
  /** Its socket is over, and what is left is told. */
  #isEnding = false;
  /** What is asked for when the present turn is over. */
  #wish: string | undefined;
  #leaving: Timer | undefined;

  constructor(options: GeminiLiveOptions) {
    const url = checkGeminiOptions(options);
    const { apiKey, clock = systemClock, headers = {} } = options;
    this.#options = options;
    this.#clock = clock;
    this.#turns = new GeminiTurns({
      clock,
      sound: this.#sound,
      emit: (event) => this.#emit(event),
      onIdle: () => this.#idle(),
    });
    this.#socket = new ModelSocket({
      url,
      headers: { ...headers, ...(apiKey === undefined ? {} : { 'x-goog-api-key': apiKey }) },
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      keepAliveMs: options.keepAliveMs ?? 10_000,
      maxMessageBytes: options.maxMessageBytes ?? 1_048_576,
      clock,
      takesBinary: true,
      endOf: (closeCode, reason) => geminiEndOf(closeCode, this.#cleaned(reason)),
      onOpen: () => this.#say(geminiSetup(options)),
      onText: (text) => this.#read(text),
      onEnd: (code, message) => {
        this.#leaving?.stop();
        this.#isEnding = true;
        this.#turns.end();
        this.#isEnding = false;
        this.#listener?.({ kind: 'ended', code, message });
      },
    });
    this.#sent = new SentAudio(taken, this.#socket, () => this.#emit({ kind: 'drained' }));
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
    const data = Buffer.from(audio.buffer, audio.byteOffset, bytes).toString('base64');
    const mimeType = `audio/pcm;rate=${taken.sampleRateHz}`;
    this.#sent.send(`{"realtimeInput":{"audio":{"mimeType":"${mimeType}","data":"${data}"}}}`, bytes);
    this.#sound.sent(audio);
    this.#turns.heard();
  }

  cancel(): void {
    this.#wish = undefined;
    this.#turns.cancel();
  }

  truncate(_part: SpokenPart, _heardMs: number): void {
    // The API cannot. A text would be answered.
  }

  remove(_itemId: string): void {
    // As `truncate`.
  }

  respond(instructions = goOn): void {
    // A text would interrupt the answer that is being made.
    if (this.#turns.isOpen) this.#wish = instructions;
    else this.tell(instructions);
  }

  tell(text: string): void {
    if (!this.#isReady) return;
    this.#turns.texted();
    this.#say({ realtimeInput: { text } });
  }

  giveResult(callId: string, output: string): void {
    const name = this.#openCalls.get(callId);
    if (name === undefined) {
      // The model has taken it back: no answer follows, and who waits for one is told.
      const responseId = `dropped-${callId}`;
      queueMicrotask(() =>
        this.#emit({ kind: 'responseEnded', responseId, state: 'cancelled', usage: undefined }),
      );
      return;
    }
    this.#openCalls.delete(callId);
    this.#say({ toolResponse: { functionResponses: [{ id: callId, name, response: { output } }] } });
    if (this.#openCalls.size === 0) this.#turns.answering();
  }

  close(): void {
    this.#release();
    this.#socket.close();
  }

  #read(text: string): void {
    const message = readGeminiMessage(text);
    if ('wrong' in message) this.#socket.refuse(`what is not understood: ${message.wrong}`);
    else this.#take(message);
  }

  #take({
    goAway,
    serverContent,
    sessionResumptionUpdate: resumption,
    setupComplete,
    toolCall,
    toolCallCancellation,
    usageMetadata: usage,
  }: GeminiMessage): void {
    if (setupComplete !== undefined) this.#ready();
    if (usage !== undefined)
      this.#emit({
        kind: 'used',
        usage: {
          inputTokens: usage.promptTokenCount + usage.toolUsePromptTokenCount,
          outputTokens: usage.responseTokenCount + usage.thoughtsTokenCount,
        },
      });
    if (serverContent !== undefined) {
      const audio = this.#audioOf(serverContent.modelTurn?.parts ?? []);
      if (audio === undefined) return;
      this.#turns.take(serverContent, audio);
    }
    if (toolCall !== undefined)
      this.#turns.called((responseId) => this.#ask(responseId, toolCall.functionCalls));
    if (toolCallCancellation !== undefined) this.#takeBack(toolCallCancellation.ids);
    if (goAway !== undefined) this.#leave(msOfDuration(goAway.timeLeft) ?? 0);
    if (resumption?.resumable && resumption.newHandle) this.#resumable(resumption.newHandle);
  }

  #resumable(handle: string): void {
    this.#options.onResumable?.(handle);
    if (this.#mayLeave) this.#expire();
  }

  /** Whether the session is to end, and neither an answer is open nor a tool. */
  get #mayLeave(): boolean {
    return this.#leaving !== undefined && this.#openCalls.size === 0 && !this.#turns.isOpen;
  }

  #ask(responseId: string, calls: NonNullable<GeminiMessage['toolCall']>['functionCalls']): void {
    for (const { args, id, name } of calls) {
      if (this.#openCalls.size < maxOpenCalls) this.#openCalls.set(id, name);
      this.#emit({ kind: 'toolCalled', responseId, callId: id, name, input: JSON.stringify(args) });
    }
  }

  #takeBack(ids: readonly string[]): void {
    for (const callId of ids) {
      this.#openCalls.delete(callId);
      this.#emit({ kind: 'toolCancelled', callId });
    }
    this.#turns.tookBack();
  }

  #ready(): void {
    if (this.#isReady) return;
    this.#isReady = true;
    const turns = pastTurns(this.#options);
    if (turns.length > 0) this.#say({ clientContent: { turns, turnComplete: true } });
    this.#emit({ kind: 'ready' });
  }

  /** The audio of a turn's parts; `undefined`: it is none, and the session is over. */
  #audioOf(
    parts: NonNullable<NonNullable<GeminiMessage['serverContent']>['modelTurn']>['parts'],
  ): readonly Uint8Array[] | undefined {
    const pieces: Uint8Array[] = [];
    for (const { inlineData } of parts) {
      if (inlineData === undefined || !inlineData.mimeType.startsWith('audio/')) continue;
      const audio = bytesOfBase64(inlineData.data);
      if (audio === undefined || audio.byteLength % 2 !== 0) {
        this.#socket.refuse('audio that is no base64 of whole samples');
        return undefined;
      }
      if (audio.byteLength === 0) continue;
      if (!/^audio\/pcm(;\s*rate=24000)?$/.test(inlineData.mimeType)) {
        this.#socket.refuse('audio of another kind than 16 bits at 24,000 Hz');
        return undefined;
      }
      pieces.push(audio);
    }
    return pieces;
  }

  /** The API is about to cut the connection: the session ends at the next end of an answer, so that no word is cut. */
  #leave(inMs: number): void {
    this.#leaving?.stop();
    this.#leaving = this.#clock.after(Math.max(0, inMs - leaveEarlyMs), () => this.#expire());
    this.#emit({ kind: 'warned', code: 'going_away', message: `It closes the connection in ${inMs} ms.` });
  }

  #expire(): void {
    this.#socket.fail('expired', 'It closes its connections after some minutes, and has said so.');
  }

  #idle(): void {
    // Who wants to resume the session needs the handle that follows.
    if (this.#mayLeave && this.#options.onResumable === undefined) {
      this.#expire();
      return;
    }
    const wish = this.#wish;
    this.#wish = undefined;
    if (wish !== undefined) this.tell(wish);
  }

  #release(): void {
    this.#leaving?.stop();
    this.#turns.close();
  }

  /** A text of the other side, without the key and not too long. */
  #cleaned(text: string): string {
    const { apiKey } = this.#options;
    return (apiKey === undefined ? text : text.replaceAll(apiKey, '…')).slice(0, maxTextLength);
  }

  #say(message: object): void {
    this.#socket.write(JSON.stringify(message));
  }

  #emit(event: ModelEvent): void {
    if (!this.#socket.isOver || this.#isEnding) this.#listener?.(event);
  }
}

/**
 * Connects to Gemini's Live API, or to one that speaks as it does. The API takes 16 bits at 16,000 Hz and makes them at 24,000;
 * other formats are made of these (`resampledModel`). The leg is `ready` when the API has taken the setup; audio that is sent before
 * is left out. Speech is detected by the API, which stops its own answer and answers a human that has stopped speaking.
 *
 * What it cannot, because the API cannot:
 *
 * - `truncate` and `remove` do nothing: the model believes to have said all that it had sent when it was interrupted. A session that
 *   takes over (`past`) is told what was heard.
 * - `cancel` drops what still comes of an answer, or all of one that was asked for and has not begun; the model makes it to its end.
 * - Each text is an activity, as a voice is: `tell` stops the answer that is being made, and is answered. `respond` waits for
 *   its end; without instructions it says "Please go on."
 * - `speechStarted` comes with an interruption, and otherwise, when no answer is open, with the first words that were understood; its
 *   `atMs` is of that moment. `speechStopped` is after 500 ms of silence behind words.
 * - A response ends when the model has made it. What it has used comes as `used`, later.
 *
 * `warned` has `phantom_interruption` (the model was interrupted, and nobody had been heard for 3 s: the ear keeps what it has) and
 * `going_away` (the API closes the connection soon: after some ten minutes). `ended` has one of these codes: `expired` (at the end
 * of the next answer after `going_away`, with `onResumable` when its handle has come, and at the latest 1 s before the connection
 * would be cut), and `unreachable`, `unauthorized`,
 * `rate_limited`, `refused`, `lost`, `bad_message` and `overflow` as of `openOpenAiRealtime`. No message has the key.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const model = openGeminiLive({ model: 'gemini-3.1-flash-live-preview', apiKey, instructions: 'You answer for a library.' });
 * const call = openCall({ carrier, model, greeting: 'Greet the caller.' });
 * ```
 */
export function openGeminiLive(options: GeminiLiveOptions): ModelLeg {
  const { format = telephoneAudio } = options;
  return resampledModel(new GeminiLive(options), format);
}
