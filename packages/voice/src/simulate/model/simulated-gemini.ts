import { type AudioFormat, msOfBytes, SpeechDetector } from '@spillway/core/audio';
import { systemClock, type Clock, type Timer } from '@spillway/core/clock';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { randomBytes } from 'node:crypto';
import type { RawData, WebSocket } from 'ws';
import { speech } from '../speech.ts';
import { GeminiSpokenAnswer } from './gemini-answer.ts';
import {
  type GeminiClientContent,
  type GeminiClientMessage,
  type GeminiRealtimeInput,
  GeminiRefusal,
  type GeminiSetup,
  type GeminiToolResponse,
  invalidArgument,
  readGeminiClientMessage,
} from './gemini-client-message.ts';
import { GeminiTruth, type SimulatedGeminiTruth } from './gemini-truth.ts';
import { checkGeminiSimulation, type SimulatedGeminiOptions } from './simulated-gemini-options.ts';
import { defaultScript, type SimulatedTurn } from './simulated-model-options.ts';

/** While the connection holds more, no audio is made. */
const maxWaitingBytes = 1_048_576;
/** A client that takes nothing, and goes on asking: its connection is cut. */
const maxUntakenBytes = 16_777_216;
/** Sessions of one server that may be resumed; the oldest go. */
const maxHandles = 1000;
/** Samples a second of audio that does not say. */
const defaultRateHz = 16_000;
const maxRateHz = 192_000;
/** A client may ask for any silence. */
const maxSilenceMs = 60_000;
const normal = 1000;

/** One session of a simulated Gemini. One file, because each message of a client may speak, detect, answer and refuse. */
export class SimulatedGemini {
  readonly #socket: WebSocket;
  readonly #options: SimulatedGeminiOptions;
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  /** Only its randomness is used: the same seed, the same faults. */
  readonly #chance: Pick<Clock, 'random'>;
  readonly #handles: Map<string, number>;
  readonly #truth = new GeminiTruth();
  readonly #closed = Promise.withResolvers<void>();
  readonly #tag = randomBytes(6).toString('hex');
  readonly #onMessage = (data: RawData): void => this.#read(data);
  readonly #ages: readonly Timer[];
  /** Tools that were asked for; `false`: the result is not wanted any more. */
  readonly #calls = new Map<string, boolean>();
  #setup: GeminiSetup | undefined;
  #hasHistory = false;
  #receivedMs = 0;
  #detector: { readonly format: AudioFormat; readonly of: SpeechDetector } | undefined;
  #speakingFromMs: number | undefined;
  #answer: GeminiSpokenAnswer | undefined;
  /** Turns of the human. */
  #turns = 0;
  #hasCalled = false;
  #lastId = 0;

  /** @throws {SpillwayError} `invalid_option` */
  constructor(socket: WebSocket, options: SimulatedGeminiOptions) {
    checkGeminiSimulation(options);
    const { clock = systemClock, goAwayMs = 10_000, handles = new Map(), seed = 1 } = options;
    const { maxAgeMs = 600_000 } = options;
    this.#socket = socket;
    this.#options = options;
    this.#clock = clock;
    this.#chance = new VirtualClock({ seed });
    this.#handles = handles;
    socket.on('message', this.#onMessage);
    socket.once('close', () => this.#release());
    // The close that follows tells all.
    socket.on('error', () => {});
    this.#ages = [
      clock.after(Math.max(0, maxAgeMs - goAwayMs), () =>
        this.#send({ goAway: { timeLeft: `${Math.min(goAwayMs, maxAgeMs) / 1000}s` } }),
      ),
      clock.after(maxAgeMs, () => this.#refuse(new GeminiRefusal(1008, 'The operation was aborted.'))),
    ];
  }

  /** What the model was told and has done until now. A copy. */
  get truth(): SimulatedGeminiTruth {
    return this.#truth.shown({ setup: this.#setup, receivedMs: this.#receivedMs });
  }

  /** Resolves when the connection is closed and nothing is left. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Closes the connection. Safe to call twice. */
  close(): void {
    this.#answer?.stop();
    this.#socket.close(normal);
  }

  #release(): void {
    this.#answer?.stop();
    for (const timer of this.#ages) timer.stop();
    this.#socket.off('message', this.#onMessage);
    this.#closed.resolve();
  }

  #read(data: RawData): void {
    try {
      this.#take(readGeminiClientMessage((data as Buffer).toString('utf8')));
    } catch (error) {
      if (!(error instanceof GeminiRefusal)) throw error;
      this.#refuse(error);
    }
  }

  #take({ clientContent, realtimeInput, setup, toolResponse }: GeminiClientMessage): void {
    // The setup is the first message, and only the first.
    if ((setup === undefined) === (this.#setup === undefined)) throw new GeminiRefusal(1007, invalidArgument);
    if (setup !== undefined) this.#begin(setup);
    else if (clientContent !== undefined) this.#remember(clientContent);
    else if (realtimeInput !== undefined) this.#takeInput(realtimeInput);
    else if (toolResponse !== undefined) this.#takeResults(toolResponse);
  }

  #begin(setup: GeminiSetup): void {
    const { handle } = setup.sessionResumption ?? {};
    const turns = handle === undefined ? 0 : this.#handles.get(handle);
    if (turns === undefined) throw new GeminiRefusal(1008, 'Requested entity was not found.');
    this.#setup = setup;
    this.#turns = turns;
    this.#send({ setupComplete: {} });
  }

  /** The history comes once, before all else, and only if the setup says so. Later texts come in real time. */
  #remember({ turnComplete = false, turns = [] }: GeminiClientContent): void {
    if (!this.#setup?.historyConfig?.initialHistoryInClientContent || this.#hasHistory)
      throw new GeminiRefusal(1007, invalidArgument);
    for (const { parts, role = 'user' } of turns)
      this.#truth.remembered(role, parts.map(({ text = '' }) => text).join(''));
    this.#hasHistory = turnComplete;
  }

  #takeInput(input: GeminiRealtimeInput): void {
    const { activityEnd, activityStart, audio, audioStreamEnd, mediaChunks = [], text } = input;
    const isManual = this.#setup?.realtimeInputConfig?.automaticActivityDetection?.disabled === true;
    if ((activityStart ?? activityEnd) !== undefined && !isManual)
      throw new GeminiRefusal(1007, invalidArgument);
    for (const one of audio === undefined ? mediaChunks : [audio, ...mediaChunks]) this.#hear(one, isManual);
    if (activityStart !== undefined) this.#speechStarted(this.#receivedMs);
    if (activityEnd !== undefined || audioStreamEnd === true) this.#speechStopped();
    if (text === undefined) return;
    // A text is an activity, as a voice is.
    this.#truth.told(text);
    this.#interrupt();
    this.#respond();
  }

  #hear({ data, mimeType }: { readonly data: string; readonly mimeType: string }, isManual: boolean): void {
    const match = /^audio\/pcm(?:;\s*rate=(\d{4,6}))?$/.exec(mimeType);
    const audio = Buffer.from(data, 'base64');
    if (match === null || audio.toString('base64') !== data || audio.byteLength % 2 !== 0)
      throw new GeminiRefusal(1007, invalidArgument);
    const sampleRateHz = Number(match[1] ?? defaultRateHz);
    if (sampleRateHz < 1000 || sampleRateHz > maxRateHz) throw new GeminiRefusal(1007, invalidArgument);
    const format: AudioFormat = { encoding: 'pcm16', sampleRateHz };
    const detector = isManual ? undefined : this.#detectorOf(format);
    this.#receivedMs += msOfBytes(format, audio.byteLength);
    for (const { atMs, kind } of detector?.push(audio) ?? []) {
      if (kind === 'started') this.#speechStarted(atMs);
      else this.#speechStopped();
    }
  }

  #detectorOf(format: AudioFormat): SpeechDetector {
    if (this.#detector?.format.sampleRateHz === format.sampleRateHz) return this.#detector.of;
    const { silenceDurationMs = 500 } = this.#setup?.realtimeInputConfig?.automaticActivityDetection ?? {};
    const how = { format, threshold: 0.5, prefixMs: 0, silenceMs: Math.min(maxSilenceMs, silenceDurationMs) };
    const of = new SpeechDetector(how, this.#receivedMs);
    this.#detector = { format, of };
    return of;
  }

  #speechStarted(atMs: number): void {
    if (this.#speakingFromMs !== undefined) throw new GeminiRefusal(1007, invalidArgument);
    this.#speakingFromMs = atMs;
    if (this.#setup?.realtimeInputConfig?.activityHandling !== 'NO_INTERRUPTION') this.#interrupt();
  }

  #speechStopped(): void {
    const fromMs = this.#speakingFromMs;
    if (fromMs === undefined) return;
    this.#speakingFromMs = undefined;
    this.#turns += 1;
    this.#hasCalled = false;
    const heard = this.#turn.heard ?? `(${Math.round(this.#receivedMs - fromMs)} ms of speech)`;
    this.#truth.heard({ fromMs, toMs: this.#receivedMs, heard });
    if (this.#setup?.inputAudioTranscription !== undefined)
      // In pieces, as the real one.
      for (const text of heard.split(/(?<= )/))
        this.#send({ serverContent: { inputTranscription: { text } } });
    if (this.#answer === undefined) this.#respond();
  }

  /** The turn of the script that the conversation is in. Before the human's first words, the first one. */
  get #turn(): SimulatedTurn {
    const { script = defaultScript() } = this.#options;
    const turn = script[Math.max(0, this.#turns - 1) % script.length];
    if (turn === undefined) throw new TypeError('The script has no turn.');
    return turn;
  }

  #takeResults({ functionResponses }: GeminiToolResponse): void {
    for (const { id, response } of functionResponses) {
      const isWanted = this.#calls.get(id);
      if (isWanted === undefined) throw new GeminiRefusal(1007, invalidArgument);
      this.#calls.delete(id);
      if (isWanted) this.#truth.gotResult(id, response);
    }
    if (this.#calls.size === 0) this.#respond();
  }

  /** What is made now is cut off, and tools that were asked for are not wanted. */
  #interrupt(): void {
    const ids = [...this.#calls].filter(([, isWanted]) => isWanted).map(([id]) => id);
    for (const id of ids) this.#calls.set(id, false);
    if (ids.length > 0) this.#send({ toolCallCancellation: { ids } });
    if (this.#answer === undefined) return;
    this.#answer.stop();
    this.#send({ serverContent: { interrupted: true } });
    this.#endTurn(true);
  }

  #respond(): void {
    const { faults = {}, greeting = speech('model-greeting'), speed = 10 } = this.#options;
    const { deltaMs = 200, thinkMs = 300 } = this.#options;
    const turn = this.#turn;
    this.#answer?.stop();
    const own = this.#chance.random() < (faults.share ?? 1) ? faults : {};
    if (own.isRateLimited) {
      this.#refuse(
        new GeminiRefusal(
          1011,
          'You exceeded your current quota, please check your plan and billing details.',
        ),
      );
      return;
    }
    if (this.#turns > 0 && !this.#hasCalled && turn.calls !== undefined && this.#call(turn.calls)) return;
    this.#answer = new GeminiSpokenAnswer({
      speech: this.#turns === 0 ? greeting : turn.says,
      speed,
      deltaMs,
      thinkMs,
      faults: own,
      isTranscribed: this.#setup?.outputAudioTranscription !== undefined,
      clock: this.#clock,
      send: (serverContent) => this.#send({ serverContent }),
      mayMake: () => this.#socket.bufferedAmount < maxWaitingBytes,
      onCut: () => this.#socket.terminate(),
      onPhantom: () => this.#interrupt(),
      onEnd: () => this.#endTurn(false),
    });
    this.#answer.begin();
  }

  /** Asks for a tool, if the session has it. Returns whether it did. */
  #call({ input, name }: NonNullable<SimulatedTurn['calls']>): boolean {
    const declared = (this.#setup?.tools ?? [])
      .flatMap(({ functionDeclarations = [] }) => functionDeclarations)
      .find((one) => one.name === name);
    if (declared === undefined) return false;
    this.#hasCalled = true;
    const id = `function-call-${this.#tag}${(this.#lastId += 1)}`;
    this.#calls.set(id, true);
    // A schema of the other kind is taken, and the model knows nothing of it.
    const args = declared.parametersJsonSchema === undefined ? input : {};
    this.#send({ toolCall: { functionCalls: [{ id, name, args }] } });
    this.#send({ serverContent: { turnComplete: true }, usageMetadata: usageOf(0) });
    return true;
  }

  #endTurn(isInterrupted: boolean): void {
    const made = this.#answer?.made ?? { text: '', madeMs: 0 };
    this.#answer = undefined;
    this.#truth.answered({ ...made, isInterrupted });
    this.#send({ serverContent: { turnComplete: true }, usageMetadata: usageOf(made.madeMs) });
    if (this.#setup?.sessionResumption === undefined) return;
    const newHandle = `${this.#tag}-${(this.#lastId += 1)}`;
    this.#handles.set(newHandle, this.#turns);
    const [oldest = ''] = this.#handles.keys();
    if (this.#handles.size > maxHandles) this.#handles.delete(oldest);
    this.#send({ sessionResumptionUpdate: { newHandle, resumable: true } });
  }

  /** Closes the connection: that is how the API says no. */
  #refuse({ code, message }: GeminiRefusal): void {
    this.#truth.refused(code, message);
    this.#answer?.stop();
    this.#socket.off('message', this.#onMessage);
    this.#socket.close(code, Buffer.from(message).subarray(0, 123));
  }

  /** As JSON in a binary message, as the real one. */
  #send(message: Readonly<Record<string, unknown>>): void {
    const socket = this.#socket;
    if (socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount > maxUntakenBytes) socket.terminate();
    else socket.send(Buffer.from(JSON.stringify(message)));
  }
}

/** The real one takes 25 tokens for a second that it says. */
function usageOf(madeMs: number): Readonly<Record<string, number>> {
  const responseTokenCount = Math.ceil(madeMs / 40);
  return { promptTokenCount: 100, responseTokenCount, totalTokenCount: 100 + responseTokenCount };
}

/**
 * Puts a simulated Gemini at the server's end of a WebSocket: it speaks as Google's Live API does and refuses what that
 * refuses, by closing the connection, and its words are clips. Call it in the turn in which the connection is accepted. The
 * socket is its own from now on.
 *
 * Speech is detected by level, on the time of the audio that came. It does not transcribe: the script says what was
 * understood. `docs/voice-doubles.md` says what else it does otherwise.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * new WebSocketServer({ port }).on('connection', (socket) => {
 *   const model = openSimulatedGemini(socket, { speed: 10 });
 *   void model.closed.then(() => console.log(model.truth.answers));
 * });
 * ```
 */
export function openSimulatedGemini(
  socket: WebSocket,
  options: SimulatedGeminiOptions = {},
): SimulatedGemini {
  return new SimulatedGemini(socket, options);
}
