import { type AudioFormat, msOfBytes } from '@spillway/core/audio';
import type { Timer } from '@spillway/core/clock';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import { checked, Refusal } from '../model/refusal.ts';
import { sendPaced, type SoundOfText, soundOf } from './simulated-speech.ts';
import type { SpeakerShared } from './speaker-shared.ts';

/** WebSocket's code for a client that does what is not allowed. */
const policy = 1008;
/** The contexts that one connection may have. */
const maxContexts = 5;

const formats: Readonly<Record<string, AudioFormat>> = {
  pcm_8000: { encoding: 'pcm16', sampleRateHz: 8000 },
  pcm_16000: { encoding: 'pcm16', sampleRateHz: 16_000 },
  pcm_22050: { encoding: 'pcm16', sampleRateHz: 22_050 },
  pcm_24000: { encoding: 'pcm16', sampleRateHz: 24_000 },
  pcm_44100: { encoding: 'pcm16', sampleRateHz: 44_100 },
  ulaw_8000: { encoding: 'mulaw', sampleRateHz: 8000 },
};

/** Settings of a connection, from its query. */
export interface ElevenLabsQuery {
  readonly format: AudioFormat;
  readonly hasAlignment: boolean;
  readonly inactivityMs: number;
}

const query = z.strictObject({
  model_id: z.string().min(1),
  output_format: z.enum(Object.keys(formats)),
  language_code: z
    .string()
    .regex(/^[a-z]{2}$/)
    .optional(),
  sync_alignment: z.enum(['true', 'false']).default('false'),
  auto_mode: z.enum(['true', 'false']).default('false'),
  inactivity_timeout: z.coerce.number().int().min(1).max(180).default(20),
});

/** Reads a query; a text says what is wrong with it. */
export function readElevenLabsQuery(parameters: URLSearchParams): ElevenLabsQuery | string {
  const result = query.safeParse(Object.fromEntries(parameters));
  const format = formats[result.data?.output_format ?? ''];
  if (!result.success || format === undefined)
    return `query: ${result.error?.issues[0]?.path.join('.') ?? ''} ${result.error?.issues[0]?.message ?? ''}`;
  return {
    format,
    hasAlignment: result.data.sync_alignment === 'true',
    inactivityMs: result.data.inactivity_timeout * 1000,
  };
}

const clientMessage = z.union([
  z.strictObject({ context_id: z.string().min(1), close_context: z.literal(true) }),
  z.strictObject({ close_socket: z.literal(true) }),
  z.strictObject({
    context_id: z.string().min(1),
    text: z.string().max(5000),
    flush: z.boolean().optional(),
    voice_settings: z
      .strictObject({
        stability: z.number().min(0).max(1).optional(),
        similarity_boost: z.number().min(0).max(1).optional(),
        speed: z.number().min(0.7).max(1.2).optional(),
      })
      .optional(),
  }),
]);

/** Some speech that is made apart from others. */
interface Context {
  readonly id: string;
  /** Texts that were flushed and not spoken. */
  readonly flushed: string[];
  buffer: string;
  isClosed: boolean;
  isBusy: boolean;
}

/** One connection to ElevenLabs' API for speech with contexts. */
export class SimulatedElevenLabs {
  readonly #socket: WebSocket;
  readonly #query: ElevenLabsQuery;
  readonly #shared: SpeakerShared;
  readonly #contexts = new Map<string, Context>();
  readonly #gone = new AbortController();
  #idle: Timer | undefined;

  constructor(socket: WebSocket, settings: ElevenLabsQuery, shared: SpeakerShared) {
    this.#socket = socket;
    this.#query = settings;
    this.#shared = shared;
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#idle?.stop();
      this.#gone.abort();
    });
    socket.on('message', (data, isBinary) => this.#read((data as Buffer).toString('utf8'), isBinary));
    this.#watch();
  }

  #read(text: string, isBinary: boolean): void {
    this.#watch();
    try {
      if (isBinary) throw new Refusal('invalid_message', 'Expected text.');
      this.#take(checked(clientMessage, parsed(text)));
    } catch (error) {
      const isRefusal = error instanceof Refusal;
      this.#refuse(
        isRefusal ? (error.code ?? 'invalid_message') : 'internal_error',
        isRefusal ? error.message : 'Internal error.',
      );
    }
  }

  #take(message: z.infer<typeof clientMessage>): void {
    if ('close_socket' in message) return this.#socket.close();
    const known = this.#contexts.get(message.context_id);
    if ('close_context' in message) {
      if (known === undefined) throw new Refusal('unknown_context', 'There is no such context.');
      known.isClosed = true;
      this.#work(known);
      return undefined;
    }
    const { context_id: id, flush, text, voice_settings: settings } = message;
    if (known === undefined && text !== ' ')
      throw new Refusal('invalid_text', 'The first text of a context has to be a single space.');
    if (known !== undefined && settings !== undefined)
      throw new Refusal('invalid_settings', 'Settings can only be set in the first message of a context.');
    if (text !== '' && !text.endsWith(' '))
      throw new Refusal('invalid_text', 'A text has to end with a space.');
    const context = known ?? { id, flushed: [], buffer: '', isClosed: false, isBusy: false };
    if (context.isClosed) throw new Refusal('context_closed', 'The context is closed.');
    this.#contexts.set(id, context);
    if (this.#contexts.size > maxContexts)
      throw new Refusal(
        'max_active_conversations',
        `Maximum simultaneous contexts per WebSocket connection exceeded (${maxContexts}).`,
      );
    context.buffer += text;
    if (flush === true) {
      context.flushed.push(context.buffer);
      context.buffer = '';
      this.#work(context);
    }
    return undefined;
  }

  /** Speaks what was flushed, and says when a context that is closed is done. */
  #work(context: Context): void {
    if (context.isBusy) return;
    const text = context.flushed.shift();
    if (text === undefined) {
      if (!context.isClosed) return;
      this.#contexts.delete(context.id);
      void this.#say({ isFinal: true, contextId: context.id });
      return;
    }
    context.isBusy = true;
    void this.#speak(context, text.trim());
  }

  async #speak(context: Context, text: string): Promise<void> {
    const { format, hasAlignment } = this.#query;
    const sound = soundOf(text, format, this.#shared.speeches, this.#shared.msPerCharacter);
    const asked = this.#shared.ask('elevenlabs', text, msOfBytes(format, sound.audio.byteLength));
    asked.state = await sendPaced({
      ...this.#shared,
      asked,
      sound,
      format,
      signal: this.#gone.signal,
      send: (piece, fromByte) => {
        const fromMs = msOfBytes(format, fromByte);
        const toMs =
          fromByte + piece.byteLength >= sound.audio.byteLength
            ? Infinity
            : msOfBytes(format, fromByte + piece.byteLength);
        return this.#say({
          audio: Buffer.from(piece).toString('base64'),
          alignment: hasAlignment ? alignment(text, sound, fromMs, toMs) : null,
          normalizedAlignment: null,
          contextId: context.id,
        });
      },
    });
    if (asked.state === 'cut') this.#socket.terminate();
    context.isBusy = false;
    this.#work(context);
  }

  /** Resolves when it was sent, or never will be. */
  #say(message: object): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.readyState === this.#socket.OPEN)
        this.#socket.send(JSON.stringify(message), () => resolve());
      else resolve();
    });
  }

  #refuse(code: string, message: string): void {
    this.#shared.onRefused(message);
    void this.#say({ message, error: code, code: policy });
    this.#socket.close(policy, code);
  }

  /** A connection on which nothing comes is closed. */
  #watch(): void {
    this.#idle?.stop();
    this.#idle = this.#shared.clock.after(this.#query.inactivityMs, () => {
      if (this.#contexts.size > 0) this.#watch();
      else this.#socket.close(policy, 'input_timeout_exceeded');
    });
  }
}

/** When the characters are spoken that begin in a piece: since the piece's beginning, in whole milliseconds. */
function alignment(text: string, { msPerCharacter }: SoundOfText, fromMs: number, toMs: number): object {
  const indexes = Array.from({ length: text.length }, (_, index) => index).filter(
    (index) => index * msPerCharacter >= fromMs && index * msPerCharacter < toMs,
  );
  return {
    chars: indexes.map((index) => text.charAt(index)),
    charStartTimesMs: indexes.map((index) => Math.round(index * msPerCharacter - fromMs)),
    charDurationsMs: indexes.map(() => Math.round(msPerCharacter)),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal('invalid_message', 'Expected JSON.');
  }
}
