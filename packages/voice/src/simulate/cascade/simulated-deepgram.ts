import { type AudioEncoding, type AudioFormat, bytesPerSample, msOfBytes } from '@spillway/core/audio';
import { type Clock, systemClock, type Timer } from '@spillway/core/clock';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import { AnswerQueue } from './answer-queue.ts';
import type { ClipEars, ClipWord } from './clip-ears.ts';
import type { RecognisedSpeech, SimulatedRecogniserFaults } from './recogniser-options.ts';

/** The API closes a connection on which nothing comes. */
const maxSilenceMs = 10_000;
/** Less audio than this that is left at a `Finalize` has no answer, as of the API. */
const noticedMs = 100;
/** The audio that is kept to understand it. */
const maxKeptMs = 60_000;

/** Messages that may wait while it is stalled: some minutes of audio. */
const maxWaiting = 20_000;

const policy = 1008;
const internal = 1011;

const encodings: Readonly<Record<string, AudioEncoding>> = {
  linear16: 'pcm16',
  mulaw: 'mulaw',
  alaw: 'alaw',
};
const flag = z.enum(['true', 'false']);

const query = z.strictObject({
  model: z.string().min(1),
  encoding: z.enum(['linear16', 'mulaw', 'alaw']),
  sample_rate: z.string().regex(/^\d{4,5}$/),
  channels: z.literal('1').optional(),
  interim_results: flag.optional(),
  punctuate: flag.optional(),
  smart_format: flag.optional(),
  language: z
    .string()
    .regex(/^(?:multi|[a-z]{2,3}(?:-[A-Za-z0-9]{2,4})?)$/)
    .optional(),
  // What else there is, and changes nothing here.
  ...Object.fromEntries(
    [
      'detect_entities',
      'diarize',
      'dictation',
      'endpointing',
      'extra',
      'filler_words',
      'keyterm',
      'keywords',
      'mip_opt_out',
      'no_delay',
      'numerals',
      'profanity_filter',
      'redact',
      'replace',
      'search',
      'tag',
      'utterance_end_ms',
      'vad_events',
      'version',
    ].map((name) => [name, z.string().optional()]),
  ),
});

const clientMessage = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('KeepAlive') }),
  z.strictObject({ type: z.literal('Finalize') }),
  z.strictObject({ type: z.literal('CloseStream') }),
]);

/** What a connection asked for. */
export interface DeepgramSettings {
  readonly format: AudioFormat;
  readonly hasInterim: boolean;
}

/** Reads the query of a connection, as strictly as the API does. A text says what is wrong. */
export function readDeepgramQuery(parameters: URLSearchParams): DeepgramSettings | string {
  const { data, error } = query.safeParse(Object.fromEntries(parameters));
  if (data === undefined) {
    const [issue] = error?.issues ?? [];
    return `Bad query: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.slice(0, 200);
  }
  const encoding = encodings[data.encoding] ?? 'pcm16';
  return {
    format: { encoding, sampleRateHz: Number(data.sample_rate) },
    hasInterim: data.interim_results === 'true',
  };
}

/** What a connection is served with. */
export interface SimulatedDeepgramOptions extends DeepgramSettings {
  readonly ears: ClipEars;
  readonly interimMs: number;
  readonly segmentMs: number;
  readonly clock?: Pick<Clock, 'after'>;
  readonly faults: () => SimulatedRecogniserFaults;
  readonly onHeard: (speech: RecognisedSpeech) => void;
  readonly onRefused: (message: string) => void;
}

/** One connection to a simulated Deepgram. */
export class SimulatedDeepgram {
  readonly #options: SimulatedDeepgramOptions;
  readonly #socket: WebSocket;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #answers: AnswerQueue;
  /** The audio since the last `Finalize` that was answered. */
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  /** Where that begins in all audio. */
  #keptFromBytes = 0;
  /** Of what is kept: final results are about so much, and any results. */
  #finalBytes = 0;
  #toldBytes = 0;
  #silence: Timer | undefined;

  constructor(socket: WebSocket, options: SimulatedDeepgramOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#answers = new AnswerQueue(this.#clock, options.faults);
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#silence?.stop();
      this.#answers.stop();
    });
    socket.on('message', (data, isBinary) => {
      this.#expectMore();
      if (this.#answers.length > maxWaiting) this.#close(internal, 'NET-0000');
      else if (isBinary) this.#hear(data as Buffer);
      else this.#read((data as Buffer).toString('utf8'));
    });
    this.#expectMore();
  }

  #expectMore(): void {
    this.#silence?.stop();
    this.#silence = this.#clock.after(maxSilenceMs, () => this.#close(internal, 'NET-0001'));
  }

  #read(text: string): void {
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch {
      message = undefined;
    }
    const { data } = clientMessage.safeParse(message);
    if (data === undefined) {
      this.#options.onRefused('A text that is no message of the API.');
      this.#close(policy, 'DATA-0000');
    } else if (data.type === 'Finalize') this.#answers.add(() => this.#finalize());
    else if (data.type === 'CloseStream')
      this.#answers.add(() => {
        this.#finalize();
        this.#send({
          type: 'Metadata',
          request_id: 'simulated',
          duration: this.#secondsAt(this.#endBytes),
          channels: 1,
        });
        this.#socket.close(1000);
      });
  }

  #hear(audio: Buffer): void {
    const { format } = this.#options;
    if (audio.byteLength % bytesPerSample(format) !== 0) {
      this.#options.onRefused('Half a sample.');
      this.#close(policy, 'DATA-0000');
      return;
    }
    this.#answers.add(() => this.#work(audio));
  }

  #work(audio: Buffer): void {
    const { format, hasInterim, interimMs, segmentMs } = this.#options;
    this.#kept.push(audio);
    this.#keptBytes += audio.byteLength;
    const newMs = (from: number): number => msOfBytes(format, this.#keptBytes - from);
    if (newMs(0) > maxKeptMs) {
      this.#tell(true);
      this.#forget();
    } else if (newMs(this.#finalBytes) >= segmentMs) this.#tell(true);
    else if (hasInterim && newMs(this.#toldBytes) >= interimMs) this.#tell(false);
  }

  #finalize(): void {
    const leftMs = msOfBytes(this.#options.format, this.#keptBytes - this.#finalBytes);
    const text = this.#words()
      .map((word) => word.text)
      .join(' ');
    const audioMs = msOfBytes(this.#options.format, this.#keptBytes);
    if (audioMs > 0) this.#options.onHeard({ api: 'deepgram', text, audioMs });
    if (leftMs >= noticedMs) this.#tell(true, true);
    this.#forget();
  }

  #forget(): void {
    this.#keptFromBytes += this.#keptBytes;
    this.#kept = [];
    this.#keptBytes = 0;
    this.#finalBytes = 0;
    this.#toldBytes = 0;
  }

  #tell(isFinal: boolean, isFromFinalize = false): void {
    const { format } = this.#options;
    const fromMs = msOfBytes(format, this.#finalBytes);
    const toMs = msOfBytes(format, this.#keptBytes);
    const words = this.#words()
      .filter((word) => {
        const middleMs = (word.fromMs + word.toMs) / 2;
        return middleMs >= fromMs && middleMs < toMs;
      })
      .map((word) => this.#shown(word));
    this.#send({
      type: 'Results',
      channel_index: [0, 1],
      start: this.#secondsAt(this.#keptFromBytes + this.#finalBytes),
      duration: round((toMs - fromMs) / 1000),
      is_final: isFinal,
      speech_final: isFromFinalize,
      from_finalize: isFromFinalize,
      channel: {
        alternatives: [
          {
            transcript: words.map((word) => word.punctuated_word).join(' '),
            confidence: words.length === 0 ? 0 : 0.99,
            words,
          },
        ],
      },
      metadata: {
        request_id: 'simulated',
        model_uuid: 'simulated',
        model_info: { name: 'simulated', version: '1', arch: 'nova' },
      },
    });
    this.#toldBytes = this.#keptBytes;
    if (isFinal) this.#finalBytes = this.#keptBytes;
  }

  #words(): ClipWord[] {
    const audio = Buffer.concat(this.#kept);
    this.#kept = [audio];
    return this.#options.ears.wordsOf(this.#options.format, audio);
  }

  #shown({ fromMs, text, toMs }: ClipWord) {
    const beforeMs = msOfBytes(this.#options.format, this.#keptFromBytes);
    return {
      word: text.toLowerCase().replaceAll(/[^\p{L}\p{N}']/gu, ''),
      punctuated_word: text,
      start: round((beforeMs + fromMs) / 1000),
      end: round((beforeMs + toMs) / 1000),
      confidence: 0.99,
    };
  }

  get #endBytes(): number {
    return this.#keptFromBytes + this.#keptBytes;
  }

  #secondsAt(bytes: number): number {
    return round(msOfBytes(this.#options.format, bytes) / 1000);
  }

  #send(message: object): void {
    const text = JSON.stringify(message);
    this.#socket.send(text);
    if (this.#options.faults().isCut) this.#socket.terminate();
  }

  #close(code: number, reason: string): void {
    this.#answers.stop();
    this.#socket.close(code, reason);
  }
}

/** Times have five decimals. */
function round(seconds: number): number {
  return Math.round(seconds * 100_000) / 100_000;
}
