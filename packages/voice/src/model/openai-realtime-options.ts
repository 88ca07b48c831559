import { expectKey, expectUrl } from '../expect-access.ts';
import { type AudioFormat, telephoneAudio } from '@spillway/core/audio';
import type { Clock } from '@spillway/core/clock';
import { expectWhole, invalid } from '@spillway/core/invalid';
import type { Utterance } from '../call/conversation.ts';
import type { ModelTool } from './model-tool.ts';

/** A connection to OpenAI's Realtime API, or to one that speaks as it does. */
export interface OpenAiRealtimeOptions {
  /** The model: `gpt-realtime-2`. */
  readonly model: string;
  /** The key, sent as `Authorization: Bearer`. Never in a message of an error. Default: none is sent. */
  readonly apiKey?: string;
  /** Where the API is: `ws:` or `wss:`. The model is put into its query. Default: `wss://api.openai.com/v1/realtime`. */
  readonly url?: string;
  /** Headers of the upgrade request beside the key, such as `OpenAI-Organization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What the model is to know and to do. Default: the API's own. */
  readonly instructions?: string;
  /** Its voice: `marin`. Default: the API's own. */
  readonly voice?: string;
  /** What it may ask for. Default: nothing. */
  readonly tools?: readonly ModelTool[];
  /** Whether the API begins a response when the human has stopped speaking. Otherwise the call asks for it. Default: `true`. */
  readonly answersItself?: boolean;
  /** What was said before, in a session that this one takes over. Default: nothing. */
  readonly past?: readonly Utterance[];
  /** The language that the human speaks, by ISO 639-1: `en`. Default: found out. */
  readonly language?: string;
  /** What writes down the human's words. Default: `gpt-transcribe`. */
  readonly transcriptionModel?: string;
  /** The longest answer, in tokens: 1 to 4,096. Default: the model's own bound. */
  readonly maxOutputTokens?: number;
  /** Both directions: `telephoneAudio`, A-law at 8,000 Hz, or 16 bits at 24,000 Hz. Default: `telephoneAudio`. */
  readonly format?: AudioFormat;
  /** How long the connection may take to be made: 1 to 120,000 ms. Default: 10,000. */
  readonly connectTimeoutMs?: number;
  /** A ping goes out so often; a connection that gives no sign for two of them is lost: 100 ms to 120,000. Default: 10,000. */
  readonly keepAliveMs?: number;
  /**
   * The largest message, in bytes: 1,024 to 16 MiB. The API repeats the instructions and tools in one message. Audio of 1 MiB
   * is 98 s by telephone, and comes in pieces of less than a second. Default: 1 MiB (1,048,576).
   */
  readonly maxMessageBytes?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after'>;
}

/** How the API names its formats. */
const formatNames = {
  'mulaw 8000': { type: 'audio/pcmu' },
  'alaw 8000': { type: 'audio/pcma' },
  'pcm16 24000': { type: 'audio/pcm', rate: 24_000 },
} as const;

function apiFormat({ encoding, sampleRateHz }: AudioFormat): object | undefined {
  const name = `${encoding} ${sampleRateHz}`;
  return Object.hasOwn(formatNames, name) ? formatNames[name as keyof typeof formatNames] : undefined;
}

/**
 * Checks options, and returns where to connect.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkOptions(options: OpenAiRealtimeOptions): URL {
  const { apiKey, format = telephoneAudio, maxOutputTokens, model } = options;
  const { url: address = 'wss://api.openai.com/v1/realtime' } = options;
  const url = expectUrl(address, ['ws:', 'wss:']);
  if (model === '') throw invalid('model: expected the name of a model, got none.');
  expectKey(apiKey);
  if (apiFormat(format) === undefined)
    throw invalid(
      `format: expected mulaw or alaw at 8000 Hz, or pcm16 at 24000 Hz, got ${format.encoding} at ${format.sampleRateHz} Hz.`,
    );
  expectWhole('maxOutputTokens', maxOutputTokens ?? 1, 1, 4096);
  expectWhole('connectTimeoutMs', options.connectTimeoutMs ?? 1, 1, 120_000);
  expectWhole('keepAliveMs', options.keepAliveMs ?? 100, 100, 120_000);
  expectWhole('maxMessageBytes', options.maxMessageBytes ?? 1024, 1024, 16_777_216);
  url.searchParams.set('model', model);
  return url;
}

/** The settings of a session, as the API takes them. */
export function sessionSettings(options: OpenAiRealtimeOptions): object {
  const { format = telephoneAudio, instructions, language, maxOutputTokens, tools = [], voice } = options;
  const { transcriptionModel = 'gpt-transcribe' } = options;
  return {
    type: 'realtime',
    output_modalities: ['audio'],
    ...(instructions === undefined ? {} : { instructions }),
    ...(maxOutputTokens === undefined ? {} : { max_output_tokens: maxOutputTokens }),
    tools: tools.map(({ description, name, parameters }) => ({
      type: 'function',
      name,
      description,
      parameters,
    })),
    audio: {
      input: {
        format: apiFormat(format),
        transcription: { model: transcriptionModel, ...(language === undefined ? {} : { language }) },
        // The call stops an answer by itself: it knows whether the ear still has some of it.
        turn_detection: {
          type: 'server_vad',
          create_response: options.answersItself ?? true,
          interrupt_response: false,
        },
      },
      output: { format: apiFormat(format), ...(voice === undefined ? {} : { voice }) },
    },
  };
}
