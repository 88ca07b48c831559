import type { AudioFormat } from '@spillway/core/audio';
import { invalid } from '@spillway/core/invalid';
import type { SpokenEvent, Speaker } from '../speaker.ts';
import { StageError } from '../stage-error.ts';
import { askStage } from '../stage-request.ts';
import { Attempt, type SpeakTimeouts } from './attempt.ts';
import { expectKey } from '../../expect-access.ts';
import { apiUrl, closedSpeaker, timeoutsOf } from './speak-options.ts';
import { isSpoken, SpeechBytes } from './speech.ts';

const who = 'The speaker';
/** What answers with a status of 200 and is no bare samples. */
const otherTypes = /^(?:text\/|application\/json|audio\/(?:mpeg|mp3|wav|wave|x-wav|ogg|opus|flac|aac|mp4))/i;

/** OpenAI's API for speech, or one that speaks as it does. */
export interface OpenAiSpeechOptions extends SpeakTimeouts {
  /** Where the API is: `http:` or `https:`, with or without `/v1` at the end. Default: `https://api.openai.com`. */
  readonly url?: string;
  /** Sent as `Authorization: Bearer`. Never in a message of an error. Default: none. */
  readonly apiKey?: string;
  /** More headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The model. Default: `gpt-4o-mini-tts`. */
  readonly model?: string;
  /** Its voice. Default: `alloy`. */
  readonly voice?: string;
  /** How it is to speak, in words: models whose name begins with `tts-1` do not take it. Default: nothing. */
  readonly instructions?: string;
  /** How fast: 0.25 to 4. Default: the API's own, 1. */
  readonly speed?: number;
  /** What it makes. The API's own is 24,000 samples a second; others may have another rate. Default: that. */
  readonly sampleRateHz?: number;
  /** What asks. Default: the platform's `fetch`. */
  readonly fetch?: typeof fetch;
}

class OpenAiSpeech implements Speaker {
  readonly api = 'openai-speech';
  readonly output: AudioFormat;
  readonly #options: OpenAiSpeechOptions;
  readonly #url: URL;
  readonly #timeouts: Required<SpeakTimeouts>;
  readonly #closed = new AbortController();

  constructor(options: OpenAiSpeechOptions) {
    const { model, sampleRateHz = 24_000, speed = 1, url = 'https://api.openai.com' } = options;
    if (model === '') throw invalid('model: expected the name of a model, got nothing.');
    if (!(speed >= 0.25 && speed <= 4)) throw invalid(`speed: expected 0.25 to 4, got ${speed}.`);
    expectKey(options.apiKey);
    this.output = { encoding: 'pcm16', sampleRateHz };
    this.#options = options;
    this.#url = apiUrl(url, ['http:', 'https:'], '/v1/audio/speech');
    this.#timeouts = timeoutsOf(options);
  }

  async *speak(
    text: string,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<SpokenEvent, void, undefined> {
    const attempt = new Attempt(this.#timeouts, signal, this.#closed.signal);
    attempt.signal.throwIfAborted();
    if (!isSpoken(text)) return;
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    try {
      const response = await attempt.wait(this.#ask(text, attempt.signal));
      reader = bodyOf(response).getReader();
      const speech = new SpeechBytes(this.output, text);
      for (;;) {
        const { done, value } = await attempt.wait(readOf(reader, attempt.signal));
        if (done) break;
        attempt.gotAudio();
        const audio = speech.push(value);
        if (audio.byteLength === 0) continue;
        yield { kind: 'audio', audio };
        attempt.signal.throwIfAborted();
      }
      speech.end();
    } finally {
      attempt.end();
      reader?.cancel().catch(() => undefined);
    }
  }

  close(): void {
    this.#closed.abort(closedSpeaker());
  }

  #ask(text: string, signal: AbortSignal): Promise<Response> {
    const { apiKey, fetch: ask, headers = {}, instructions, speed } = this.#options;
    return askStage({
      who,
      url: this.#url,
      headers: {
        ...headers,
        'content-type': 'application/json',
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify({
        model: this.#options.model ?? 'gpt-4o-mini-tts',
        input: text,
        voice: this.#options.voice ?? 'alloy',
        ...(instructions === undefined ? {} : { instructions }),
        ...(speed === undefined ? {} : { speed }),
        response_format: 'pcm',
      }),
      signal,
      fetch: ask,
    });
  }
}

function bodyOf({ body, headers }: Response): ReadableStream<Uint8Array> {
  const type = headers.get('content-type') ?? '';
  const wrong = otherTypes.exec(type)?.[0];
  if (wrong !== undefined)
    throw new StageError('bad_message', `${who} sent ${wrong}; expected bare samples (pcm).`);
  if (body === null) throw new StageError('bad_message', `${who} sent an answer without a body.`);
  return body;
}

async function readOf(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  signal: AbortSignal,
): ReturnType<typeof reader.read> {
  try {
    return await reader.read();
  } catch (error) {
    signal.throwIfAborted();
    throw new StageError('lost', `${who} ended its answer in the middle.`, { cause: error });
  }
}

/**
 * Speaks by OpenAI's API for speech (`POST /v1/audio/speech`), or by one that speaks as it does: a request for each text, whose audio
 * is read as it is asked for. It does not say when words are spoken.
 *
 * A text fails with a `StageError`: `unauthorized` (401, 403), `rate_limited` (429, with `retryAfterMs` where it was said), `refused`
 * (other 4xx), `unreachable` (5xx, no connection), `lost` (the answer was cut), `late` (`firstAudioTimeoutMs`, `stallTimeoutMs`)
 * and `bad_message` (no samples, or more than a minute of them for 200 characters).
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const speaker = openOpenAiSpeech({ apiKey, voice: 'marin', instructions: 'Friendly, and not too slow.' });
 * for await (const event of speaker.speak('We open at nine.', { signal }))
 *   if (event.kind === 'audio') play(event.audio); // 16 bits, 24,000 samples a second
 * ```
 */
export function openOpenAiSpeech(options: OpenAiSpeechOptions = {}): Speaker {
  return new OpenAiSpeech(options);
}
