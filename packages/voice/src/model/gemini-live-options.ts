import { expectKey, expectUrl } from '../expect-access.ts';
import { type AudioFormat, checkAudioFormat } from '@spillway/core/audio';
import type { Clock } from '@spillway/core/clock';
import { expectWhole, invalid } from '@spillway/core/invalid';
import type { Utterance } from '../call/conversation.ts';
import { geminiSchema } from './gemini-schema.ts';
import type { ModelTool } from './model-tool.ts';

/** A connection to Gemini's Live API, or to one that speaks as it does. */
export interface GeminiLiveOptions {
  /** The model, with or without `models/` in front: `gemini-3.1-flash-live-preview`. */
  readonly model: string;
  /** The key, sent as `x-goog-api-key`. Never in a message of an error. Default: none is sent. */
  readonly apiKey?: string;
  /**
   * Where the API is: `ws:` or `wss:`. Default:
   * `wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent`.
   */
  readonly url?: string;
  /** Headers of the upgrade request beside the key. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What the model is to know and to do. Default: nothing. */
  readonly instructions?: string;
  /** Its voice: `Kore`. Default: the API's own. */
  readonly voice?: string;
  /** What it may ask for. Of JSON Schema, what the API knows is told to it (`type`, `properties`, `enum`, …). Default: nothing. */
  readonly tools?: readonly ModelTool[];
  /** The language that the model speaks, by BCP 47: `de-DE`. Models that choose by themselves may refuse it. Default: theirs. */
  readonly language?: string;
  /** The longest answer, in tokens: 1 to 65,536. Default: the model's own bound. */
  readonly maxOutputTokens?: number;
  /** What was said before, in a session that this one takes over. Left out with `resumptionHandle`. Default: nothing. */
  readonly past?: readonly Utterance[];
  /** The session that is resumed, as the API knows it: `onResumable` told it. Default: a new one. */
  readonly resumptionHandle?: string;
  /** Called with a handle that this session can be resumed by, after each turn; the last one counts. Must not throw. */
  readonly onResumable?: (handle: string) => void;
  /** Both directions. The API's own are 16 bits at 16,000 Hz in and 24,000 Hz out; others are made of them. Default: `telephoneAudio`. */
  readonly format?: AudioFormat;
  /** How long the connection may take to be made: 1 to 120,000 ms. Default: 10,000. */
  readonly connectTimeoutMs?: number;
  /** A ping goes out so often; a connection that gives no sign for two of them is lost: 100 ms to 120,000. Default: 10,000. */
  readonly keepAliveMs?: number;
  /** The largest message, in bytes: 1,024 to 16 MiB. Audio of 1 MiB is 16 s. Default: 1 MiB (1,048,576). */
  readonly maxMessageBytes?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after'>;
}

const defaultUrl =
  'wss://generativelanguage.googleapis.com/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent';

/**
 * Checks options, and returns where to connect.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkGeminiOptions(options: GeminiLiveOptions): URL {
  const { apiKey, format, model, url: address = defaultUrl } = options;
  const url = expectUrl(address, ['ws:', 'wss:']);
  if (!/^(models\/)?[\w.-]+$/.test(model))
    throw invalid(`model: expected the name of a model, got ${JSON.stringify(model)}.`);
  expectKey(apiKey);
  if (format !== undefined) checkAudioFormat(format);
  expectWhole('maxOutputTokens', options.maxOutputTokens ?? 1, 1, 65_536);
  expectWhole('connectTimeoutMs', options.connectTimeoutMs ?? 1, 1, 120_000);
  expectWhole('keepAliveMs', options.keepAliveMs ?? 100, 100, 120_000);
  expectWhole('maxMessageBytes', options.maxMessageBytes ?? 1024, 1024, 16_777_216);
  return url;
}

/** The first message of a session. */
export function geminiSetup(options: GeminiLiveOptions): object {
  const {
    instructions,
    language,
    maxOutputTokens,
    model,
    onResumable,
    resumptionHandle,
    tools = [],
  } = options;
  const { voice } = options;
  const voiceConfig =
    voice === undefined ? {} : { voiceConfig: { prebuiltVoiceConfig: { voiceName: voice } } };
  const languageCode = language === undefined ? {} : { languageCode: language };
  const declarations = tools.map(({ description, name, parameters }) => ({
    name,
    description,
    parameters: geminiSchema(parameters),
  }));
  return {
    setup: {
      model: model.startsWith('models/') ? model : `models/${model}`,
      generationConfig: {
        responseModalities: ['AUDIO'],
        ...(maxOutputTokens === undefined ? {} : { maxOutputTokens }),
        ...(voice === undefined && language === undefined
          ? {}
          : { speechConfig: { ...voiceConfig, ...languageCode } }),
      },
      ...(instructions === undefined ? {} : { systemInstruction: { parts: [{ text: instructions }] } }),
      ...(tools.length === 0 ? {} : { tools: [{ functionDeclarations: declarations }] }),
      inputAudioTranscription: {},
      outputAudioTranscription: {},
      // Without it, a session with audio ends after a quarter of an hour.
      contextWindowCompression: { slidingWindow: {} },
      ...(onResumable === undefined && resumptionHandle === undefined
        ? {}
        : { sessionResumption: resumptionHandle === undefined ? {} : { handle: resumptionHandle } }),
      ...(pastTurns(options).length === 0 ? {} : { historyConfig: { initialHistoryInClientContent: true } }),
    },
  };
}

/** What was said before, as the API takes it: speakers alternate. Empty: there is nothing to tell. */
export function pastTurns({ past = [], resumptionHandle }: GeminiLiveOptions): readonly object[] {
  const turns: { readonly role: 'model' | 'user'; readonly parts: { readonly text: string }[] }[] = [];
  if (resumptionHandle !== undefined) return turns;
  for (const { role, text } of past) {
    const last = turns.at(-1);
    const speaker = role === 'caller' ? 'user' : 'model';
    if (last?.role === speaker) last.parts.push({ text });
    else turns.push({ role: speaker, parts: [{ text }] });
  }
  return turns;
}
