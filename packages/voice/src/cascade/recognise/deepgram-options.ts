import { type AudioFormat, checkAudioFormat, telephoneAudio } from '@spillway/core/audio';
import type { Clock } from '@spillway/core/clock';
import { expectWhole, invalid } from '@spillway/core/invalid';
import { expectKey, expectUrl } from '../../expect-access.ts';

/** A connection to Deepgram's live API, or to one that speaks as it does. */
export interface DeepgramListenOptions {
  /** The key, sent as `Authorization: Token`. Never in a message of an error. Default: none is sent. */
  readonly apiKey?: string;
  /**
   * Where the API is: `ws:` or `wss:`; without a path, that is `/v1/listen`. What its query has beside what is set here stays, such as `keyterm` or `smart_format`.
   * Default: `wss://api.deepgram.com/v1/listen`.
   */
  readonly url?: string;
  /** The model. Default: `nova-3`. */
  readonly model?: string;
  /** The language that is spoken: `en-US`, `de`, `multi`. Default: the API's own. */
  readonly language?: string;
  /** What is sent: 8,000 to 48,000 samples a second. Default: `telephoneAudio`. */
  readonly format?: AudioFormat;
  /** How long the connection may take to be made: 1 to 120,000 ms. Default: 10,000. */
  readonly connectTimeoutMs?: number;
  /** A ping goes out so often; a connection that gives no sign for two of them is lost: 100 ms to 120,000. Default: 10,000. */
  readonly keepAliveMs?: number;
  /**
   * How long the words of an utterance may take after its end: 100 ms to 120,000. Then it has those that came, with a `warned`
   * of the code `late` before. Default: 8,000.
   */
  readonly finalTimeoutMs?: number;
  /** The largest message, in bytes: 1,024 to 16 MiB. Default: 256 KiB (262,144). */
  readonly maxMessageBytes?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after'>;
}

/** How the API names its encodings. */
const encodings = { alaw: 'alaw', mulaw: 'mulaw', pcm16: 'linear16' } as const;

/**
 * Checks options, and returns where to connect.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkDeepgramOptions(options: DeepgramListenOptions): URL {
  const { apiKey, format = telephoneAudio, language, model = 'nova-3' } = options;
  const url = expectUrl(options.url ?? 'wss://api.deepgram.com/v1/listen', ['ws:', 'wss:']);
  if (url.pathname === '/') url.pathname = '/v1/listen';
  expectKey(apiKey);
  if (model === '') throw invalid('model: expected the name of a model, got none.');
  checkAudioFormat(format);
  expectWhole('format.sampleRateHz', format.sampleRateHz, 8000, 48_000);
  expectWhole('connectTimeoutMs', options.connectTimeoutMs ?? 1, 1, 120_000);
  expectWhole('keepAliveMs', options.keepAliveMs ?? 100, 100, 120_000);
  expectWhole('finalTimeoutMs', options.finalTimeoutMs ?? 100, 100, 120_000);
  expectWhole('maxMessageBytes', options.maxMessageBytes ?? 1024, 1024, 16_777_216);
  const query = {
    model,
    encoding: encodings[format.encoding],
    sample_rate: String(format.sampleRateHz),
    channels: '1',
    interim_results: 'true',
    punctuate: 'true',
    ...(language === undefined ? {} : { language }),
  };
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}
