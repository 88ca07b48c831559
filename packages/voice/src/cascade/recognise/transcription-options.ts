import type { AudioFormat } from '@spillway/core/audio';
import type { Clock } from '@spillway/core/clock';
import { expectWhole, invalid } from '@spillway/core/invalid';
import { expectKey, expectUrl } from '../../expect-access.ts';

/** What a request has used: tokens, or the audio's length, as the model reports it. */
export type TranscriptionUsage =
  | { readonly inputTokens: number; readonly outputTokens: number }
  | { readonly seconds: number };

/** OpenAI's API for transcriptions, or one that speaks as it does. */
export interface OpenAiTranscriptionOptions {
  /** The key, sent as `Authorization: Bearer`. Never in a message of an error. Default: none is sent. */
  readonly apiKey?: string;
  /** Where the API is: `http:` or `https:`; `/v1/audio/transcriptions` follows. Default: `https://api.openai.com`. */
  readonly url?: string;
  /** The model. Default: `gpt-4o-mini-transcribe`. */
  readonly model?: string;
  /** Headers beside the key, such as `OpenAI-Organization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The language that is spoken, by ISO 639-1: `en`. Default: found out. */
  readonly language?: string;
  /** What helps to understand, such as names that may be said. Default: nothing. */
  readonly prompt?: string;
  /**
   * Whether the words are to come as they are made. A model that cannot, such as `whisper-1`, answers as without. `false`: for
   * servers that refuse to be asked, or answer with events of their own. Default: `true`.
   */
  readonly stream?: boolean;
  /** What is sent: linear 16 bits, 8,000 to 48,000 samples a second. Default: 16,000. */
  readonly format?: AudioFormat;
  /** The audio of an utterance that is kept: 1,000 to 300,000 ms. What comes beyond is left out. Default: 60,000. */
  readonly maxUtteranceMs?: number;
  /** How long the words of an utterance may take from its turn on, second try included: 100 to 120,000 ms. Default: 10,000. */
  readonly timeoutMs?: number;
  /** Called with what each request has used, where the model says so. Must not throw. */
  readonly onUsed?: (usage: TranscriptionUsage) => void;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after' | 'nowMs'>;
}

const wideband: AudioFormat = { encoding: 'pcm16', sampleRateHz: 16_000 };

/** Options with their defaults. */
export interface TranscriptionSettings {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** The fields of the form beside the file. */
  readonly fields: Readonly<Record<string, string>>;
  readonly format: AudioFormat;
}

/**
 * Checks options.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function transcriptionSettings(options: OpenAiTranscriptionOptions): TranscriptionSettings {
  const { apiKey, format = wideband, headers = {}, language, prompt, stream = true } = options;
  const { model = 'gpt-4o-mini-transcribe', url: address = 'https://api.openai.com' } = options;
  const url = expectUrl(address, ['http:', 'https:']);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/audio/transcriptions`;
  expectKey(apiKey);
  if (model === '') throw invalid('model: expected the name of a model, got none.');
  if (format.encoding !== 'pcm16') throw invalid(`format: expected pcm16, got ${format.encoding}.`);
  expectWhole('format.sampleRateHz', format.sampleRateHz, 8000, 48_000);
  expectWhole('maxUtteranceMs', options.maxUtteranceMs ?? 1000, 1000, 300_000);
  expectWhole('timeoutMs', options.timeoutMs ?? 100, 100, 120_000);
  return {
    url,
    headers: { ...headers, ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }) },
    fields: {
      model,
      response_format: 'json',
      ...(language === undefined ? {} : { language }),
      ...(prompt === undefined ? {} : { prompt }),
      ...(stream ? { stream: 'true' } : {}),
    },
    format,
  };
}
