import { type AudioFormat, msOfBytes } from '@spillway/core/audio';
import { bytesOfBase64 } from '../../model/base64.ts';
import { ModelSocket } from '../../model/model-socket.ts';
import type { SpokenEvent, Speaker } from '../speaker.ts';
import { StageError, type StageErrorCode } from '../stage-error.ts';
import { Attempt, type SpeakTimeouts } from './attempt.ts';
import { elevenLabsCode, readElevenLabsMessage } from './elevenlabs-messages.ts';
import { type ElevenLabsSpeechOptions, elevenLabsUrl, voiceSettings } from './elevenlabs-options.ts';
import { closedSpeaker, timeoutsOf } from './speak-options.ts';
import { isSpoken, SpeechBytes } from './speech.ts';
import { WordTimes } from './word-times.ts';

/** The longest text of the API that is passed on in a message, in characters. */
const maxTextLength = 300;

/** How the socket's ends are called here. Others, such as `overflow`, are `lost`. */
const socketCodes: ReadonlySet<string> = new Set([
  'bad_message',
  'lost',
  'rate_limited',
  'refused',
  'unauthorized',
  'unreachable',
] satisfies StageErrorCode[]);

/** A text that is being spoken. */
interface Spoken {
  readonly id: string;
  readonly speech: SpeechBytes;
  readonly words: WordTimes;
  /** Not given yet. What waits is bounded by the length of a text's speech; the socket is paused while anything does. */
  readonly waiting: SpokenEvent[];
  isOver: boolean;
}

/** One WebSocket. Texts are spoken on it one after the other, each in a context of its own. */
class Connection {
  readonly #format: AudioFormat;
  readonly #options: ElevenLabsSpeechOptions;
  readonly #socket: ModelSocket;
  readonly #opened = Promise.withResolvers<void>();
  #failure: StageError | undefined;
  #spoken: Spoken | undefined;
  #count = 0;
  #wake: (() => void) | undefined;

  constructor(url: URL, format: AudioFormat, options: ElevenLabsSpeechOptions) {
    const { apiKey, headers = {} } = options;
    this.#format = format;
    this.#options = options;
    this.#opened.promise.catch(() => undefined);
    this.#socket = new ModelSocket({
      url,
      headers: { ...headers, ...(apiKey === undefined ? {} : { 'xi-api-key': apiKey }) },
      connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
      keepAliveMs: options.keepAliveMs ?? 10_000,
      maxMessageBytes: options.maxMessageBytes ?? 4_194_304,
      clock: options.clock,
      onOpen: () => this.#opened.resolve(),
      onText: (text) => this.#read(text),
      onEnd: (code, message) =>
        this.#fail(socketCodes.has(code) ? (code as StageErrorCode) : 'lost', message),
    });
    this.#socket.read();
  }

  /** Whether another text may be spoken on it. */
  get isUsable(): boolean {
    return this.#failure === undefined && this.#spoken === undefined;
  }

  /** Whether it is still to end a text. */
  isSpeaking(spoken: Spoken | undefined): boolean {
    return this.#failure === undefined && spoken !== undefined && this.#spoken === spoken;
  }

  /** Resolves when it is there; rejects with why it is not. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  begin(text: string): Spoken {
    const id = `spillway_${(this.#count += 1)}`;
    const spoken: Spoken = {
      id,
      speech: new SpeechBytes(this.#format, text),
      words: new WordTimes(text),
      waiting: [],
      isOver: false,
    };
    this.#spoken = spoken;
    this.#say({ text: ' ', context_id: id, ...voiceSettings(this.#options) });
    this.#say({ text: `${text} `, context_id: id, flush: true });
    // What was flushed is spoken to its end, and the API says when that is.
    this.#say({ context_id: id, close_context: true });
    return spoken;
  }

  /** The next of what is spoken; `undefined`: it is over. */
  async next(spoken: Spoken): Promise<SpokenEvent | undefined> {
    for (;;) {
      const event = spoken.waiting.shift();
      if (event !== undefined) return event;
      if (spoken.isOver) return undefined;
      if (this.#failure !== undefined) throw this.#failure;
      this.#socket.resume();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  close(): void {
    this.#failure ??= closedSpeaker();
    this.#opened.reject(this.#failure);
    this.#socket.close();
    this.#wake?.();
  }

  #read(text: string): void {
    const message = readElevenLabsMessage(text);
    if (message === undefined) return this.#socket.refuse('a message that is not understood');
    if (typeof message.error === 'string') {
      this.#fail(
        elevenLabsCode(message.error),
        `It said ${this.#clean(message.error, message.message ?? '')}.`,
      );
      this.#socket.close();
      return undefined;
    }
    const spoken = this.#spoken;
    if (spoken === undefined || message.contextId !== spoken.id) return undefined;
    const fromMs = msOfBytes(this.#format, spoken.speech.bytes);
    if (message.alignment) this.#give(spoken, spoken.words.push(message.alignment, fromMs));
    if (message.audio) this.#take(spoken, message.audio);
    if (message.isFinal === true) this.#end(spoken);
    if (spoken.waiting.length > 0 && !spoken.isOver) this.#socket.pause();
    this.#wake?.();
    return undefined;
  }

  #take(spoken: Spoken, base64: string): void {
    const bytes = bytesOfBase64(base64);
    if (bytes === undefined) return this.#socket.refuse('audio that is no base64');
    try {
      const audio = spoken.speech.push(bytes);
      if (audio.byteLength > 0) spoken.waiting.push({ kind: 'audio', audio });
    } catch (error) {
      this.#broken(error);
    }
    return undefined;
  }

  #end(spoken: Spoken): void {
    this.#give(spoken, spoken.words.end());
    try {
      spoken.speech.end();
      spoken.isOver = true;
      this.#spoken = undefined;
      this.#socket.resume();
    } catch (error) {
      this.#broken(error);
    }
  }

  #give({ waiting }: Spoken, words: ReturnType<WordTimes['end']>): void {
    if (words.length > 0) waiting.push({ kind: 'words', words });
  }

  #broken(error: unknown): void {
    if (!(error instanceof StageError)) throw error;
    this.#fail(error.code, error.message);
    this.#socket.close();
  }

  #fail(code: StageErrorCode, message: string): void {
    this.#failure ??= new StageError(code, message);
    this.#opened.reject(this.#failure);
    this.#wake?.();
  }

  #clean(name: string, said: string): string {
    const key = this.#options.apiKey;
    const text = said === '' ? name : `${name}: ${said}`;
    return (key === undefined ? text : text.replaceAll(key, '…')).slice(0, maxTextLength);
  }

  #say(message: object): void {
    this.#socket.write(JSON.stringify(message));
  }
}

class ElevenLabsSpeech implements Speaker {
  readonly api = 'elevenlabs';
  readonly output: AudioFormat;
  readonly #options: ElevenLabsSpeechOptions;
  readonly #url: URL;
  readonly #timeouts: Required<SpeakTimeouts>;
  readonly #closed = new AbortController();
  #connection: Connection | undefined;

  constructor(options: ElevenLabsSpeechOptions) {
    this.#options = options;
    this.output = options.format ?? { encoding: 'pcm16', sampleRateHz: 24_000 };
    this.#url = elevenLabsUrl(options, this.output);
    this.#timeouts = timeoutsOf(options);
    // The first text is to wait for no handshake.
    this.#connect();
  }

  async *speak(
    text: string,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<SpokenEvent, void, undefined> {
    const attempt = new Attempt(this.#timeouts, signal, this.#closed.signal);
    attempt.signal.throwIfAborted();
    if (!isSpoken(text)) return;
    const begun: Begun = {};
    const stop = (): void => this.#stop(begun);
    attempt.signal.addEventListener('abort', stop);
    try {
      let event = await attempt.wait(this.#begin(text, begun, attempt.signal));
      while (event !== undefined) {
        if (event.kind === 'audio') attempt.gotAudio();
        yield event;
        attempt.signal.throwIfAborted();
        event = await attempt.wait(nextOf(begun));
      }
    } finally {
      attempt.signal.removeEventListener('abort', stop);
      stop();
    }
  }

  close(): void {
    this.#closed.abort(closedSpeaker());
    this.#connection?.close();
  }

  /** Begins a text, and waits for the first of it: on another connection, where the present one has ended unseen. */
  async #begin(text: string, begun: Begun, signal: AbortSignal): Promise<SpokenEvent | undefined> {
    for (;;) {
      const known = this.#connection;
      const connection = this.#connect();
      await connection.opened;
      signal.throwIfAborted();
      begun.connection = connection;
      begun.spoken = connection.begin(text);
      try {
        return await nextOf(begun);
      } catch (error) {
        signal.throwIfAborted();
        const mayBeOld = connection === known && error instanceof StageError && error.code === 'lost';
        if (!mayBeOld) throw error;
      }
    }
  }

  /** The present connection, or another one in its place if it is not to be used any more. */
  #connect(): Connection {
    if (this.#connection?.isUsable !== true) {
      this.#connection?.close();
      this.#connection = new Connection(this.#url, this.output, this.#options);
    }
    return this.#connection;
  }

  /**
   * Ends a text that is not over. The API knows no other way at once: a context that was flushed is spoken to its end, and one
   * connection may have five. The next text finds a new connection.
   */
  #stop({ connection, spoken }: Begun): void {
    if (connection?.isSpeaking(spoken) !== true) return;
    if (!this.#closed.signal.aborted) this.#connect();
  }
}

/** A text, and where it is spoken. */
interface Begun {
  connection?: Connection;
  spoken?: Spoken;
}

async function nextOf({ connection, spoken }: Begun): Promise<SpokenEvent | undefined> {
  return spoken === undefined ? undefined : connection?.next(spoken);
}

/**
 * Speaks by ElevenLabs' API (its WebSocket with contexts, `multi-stream-input`), or by one that speaks as it does. One connection is
 * made at once and kept: each text is a context on it. A text that is aborted ends the connection, and another one is made
 * at once; so is one, for the next text, where the other side has closed it meanwhile (after 180 s without a text). Each word's time
 * comes with its audio, where the API's characters are those of the text.
 *
 * A text fails with a `StageError`: `unauthorized`, `rate_limited` (429, no quota), `refused` (the voice, the model, the settings), `unreachable`,
 * `lost` (the connection ended), `late` (`firstAudioTimeoutMs`, `stallTimeoutMs`) and `bad_message` (what is not understood, or more than
 * a minute of speech for 200 characters).
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const speaker = openElevenLabsSpeech({ apiKey, voice, format: telephoneAudio });
 * for await (const event of speaker.speak('We open at nine.', { signal }))
 *   if (event.kind === 'audio') play(event.audio);
 * speaker.close();
 * ```
 */
export function openElevenLabsSpeech(options: ElevenLabsSpeechOptions): Speaker {
  return new ElevenLabsSpeech(options);
}
