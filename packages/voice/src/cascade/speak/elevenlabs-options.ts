import type { AudioFormat } from '@spillway/core/audio';
import { expectWhole, invalid } from '@spillway/core/invalid';
import type { SpeakTimeouts } from './attempt.ts';
import { expectKey } from '../../expect-access.ts';
import { apiUrl } from './speak-options.ts';

/** ElevenLabs' API for speech, or one that speaks as it does. */
export interface ElevenLabsSpeechOptions extends SpeakTimeouts {
  /** The id of the voice. */
  readonly voice: string;
  /** Where the API is: `ws:` or `wss:`. Default: `wss://api.elevenlabs.io`. */
  readonly url?: string;
  /** The key, sent as `xi-api-key`. Never in a message of an error. Default: none. */
  readonly apiKey?: string;
  /** More headers of the upgrade request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The model. Default: `eleven_flash_v2_5`. */
  readonly model?: string;
  /** The language, by ISO 639-1, for models that take one. Default: found out. */
  readonly language?: string;
  /** What it makes: µ-law at 8,000 Hz, or 16 bits at 8,000, 16,000, 22,050, 24,000 or 44,100. Default: 16 bits at 24,000. */
  readonly format?: AudioFormat;
  /** From 0, lively, to 1, even. Default: the voice's own. */
  readonly stability?: number;
  /** How near it is to the voice: 0 to 1. Default: the voice's own. */
  readonly similarity?: number;
  /** How fast: 0.7 to 1.2. Default: 1. */
  readonly speed?: number;
  /** How long a connection may take to be made: 1 to 120,000 ms. Default: 10,000. */
  readonly connectTimeoutMs?: number;
  /** A ping goes out so often; a connection that gives no sign for two of them is lost: 100 to 120,000 ms. Default: 10,000. */
  readonly keepAliveMs?: number;
  /** The largest message, in bytes: 1,024 to 16 MiB. Default: 4 MiB, 65 s of 16 bits at 24,000 Hz in base64. */
  readonly maxMessageBytes?: number;
}

/** How long the other side keeps a connection on which nothing is asked for, in seconds: the most that the API allows. */
const inactivitySeconds = 180;

const pcmRates: readonly number[] = [8000, 16_000, 22_050, 24_000, 44_100];

function formatName({ encoding, sampleRateHz }: AudioFormat): string {
  if (encoding === 'mulaw' && sampleRateHz === 8000) return 'ulaw_8000';
  if (encoding === 'pcm16' && pcmRates.includes(sampleRateHz)) return `pcm_${sampleRateHz}`;
  throw invalid(
    `format: expected mulaw at 8000 Hz, or pcm16 at ${pcmRates.join(', ')} Hz, got ${encoding} at ${sampleRateHz} Hz.`,
  );
}

/**
 * Checks options, and returns where to connect.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function elevenLabsUrl(options: ElevenLabsSpeechOptions, format: AudioFormat): URL {
  const {
    apiKey,
    language,
    model = 'eleven_flash_v2_5',
    url: address = 'wss://api.elevenlabs.io',
    voice,
  } = options;
  if (!/^[\w-]{1,128}$/.test(voice))
    throw invalid(`voice: expected the id of a voice, got ${JSON.stringify(voice.slice(0, 128))}.`);
  if (model === '') throw invalid('model: expected the name of a model, got nothing.');
  expectKey(apiKey);
  expectWhole('connectTimeoutMs', options.connectTimeoutMs ?? 1, 1, 120_000);
  expectWhole('keepAliveMs', options.keepAliveMs ?? 100, 100, 120_000);
  expectWhole('maxMessageBytes', options.maxMessageBytes ?? 1024, 1024, 16_777_216);
  for (const [name, from, to] of [
    ['stability', 0, 1],
    ['similarity', 0, 1],
    ['speed', 0.7, 1.2],
  ] as const) {
    const value = options[name];
    if (value !== undefined && !(value >= from && value <= to))
      throw invalid(`${name}: expected ${from} to ${to}, got ${value}.`);
  }
  const url = apiUrl(address, ['ws:', 'wss:'], `/v1/text-to-speech/${voice}/multi-stream-input`);
  url.searchParams.set('model_id', model);
  url.searchParams.set('output_format', formatName(format));
  if (language !== undefined) url.searchParams.set('language_code', language);
  url.searchParams.set('sync_alignment', 'true');
  url.searchParams.set('inactivity_timeout', String(inactivitySeconds));
  return url;
}

/** What the first message of a context says of its voice. */
export function voiceSettings({ similarity, speed, stability }: ElevenLabsSpeechOptions): object {
  const settings = {
    ...(stability === undefined ? {} : { stability }),
    ...(similarity === undefined ? {} : { similarity_boost: similarity }),
    ...(speed === undefined ? {} : { speed }),
  };
  return Object.keys(settings).length === 0 ? {} : { voice_settings: settings };
}
