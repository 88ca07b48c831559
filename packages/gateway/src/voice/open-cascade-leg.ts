import type { Clock } from '@spillway/core/clock';
import {
  type CallTool,
  type ModelLeg,
  openAnthropicMessages,
  openCascade,
  openDeepgramListen,
  openElevenLabsSpeech,
  openFlite,
  openGeminiContent,
  openOpenAiChat,
  openOpenAiSpeech,
  openOpenAiTranscription,
  openPocketsphinx,
  type Reasoner,
  type Recogniser,
  type Speaker,
  type Utterance,
} from '@spillway/voice';
import type { Cascade, RecogniseStage, SpeakStage } from '../config/read-cascade.ts';
import type { VoiceSettings } from '../config/read-voice.ts';
import { ownUrl } from './own-fetch.ts';

type Spoken = Pick<VoiceSettings, 'instructions' | 'language' | 'onShortNoise' | 'voice'>;

export interface OpenCascadeLegOptions {
  readonly cascade: Cascade;
  readonly settings: Spoken;
  readonly tools: readonly CallTool[];
  /** What was said so far, in a session that is over. */
  readonly past: readonly Utterance[];
  /** Asks this gateway itself. */
  readonly fetch: typeof fetch;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
}

/** Opens three models as the one that answers a call. */
export function openCascadeLeg({
  cascade,
  clock,
  fetch,
  past,
  settings,
  tools,
}: OpenCascadeLegOptions): ModelLeg {
  const { instructions, language, onShortNoise } = settings;
  return openCascade({
    recogniser: openRecogniser(cascade.recognise, settings),
    reasoner: uncounted(openReasoner(cascade, fetch)),
    speaker: openSpeaker(cascade.speak, settings),
    tools,
    past,
    unheardMs: cascade.unheardMs,
    // Neural speakers read numbers and abbreviations themselves, and better.
    speakable: cascade.speak.kind === 'flite' ? 'words' : 'markdown',
    // What answers by itself would answer a noise.
    answersItself: onShortNoise === 'drop',
    clock,
    ...(instructions === undefined ? {} : { instructions }),
    ...(language === undefined ? {} : { language }),
  });
}

/** What makes words of speech. */
export function openRecogniser(stage: RecogniseStage, { language }: Pick<Spoken, 'language'>): Recogniser {
  if (stage.kind === 'pocketsphinx')
    return openPocketsphinx(stage.grammar === undefined ? {} : { grammar: stage.grammar });
  const service = {
    model: stage.name,
    ...(stage.apiKey === undefined ? {} : { apiKey: stage.apiKey }),
    ...(stage.url === undefined ? {} : { url: stage.url }),
  };
  if (stage.kind === 'deepgram')
    return openDeepgramListen({ ...service, ...(language === undefined ? {} : { language }) });
  return openOpenAiTranscription({
    ...service,
    ...withoutRegion(language),
  });
}

/** Some are told a language without a region. */
function withoutRegion(language: string | undefined): { readonly language?: string } {
  return language === undefined ? {} : { language: language.replace(/-.*/, '') };
}

/** What speaks. */
export function openSpeaker(
  stage: SpeakStage,
  { language, voice }: Pick<Spoken, 'language' | 'voice'>,
): Speaker {
  const named = voice === undefined ? {} : { voice };
  if (stage.kind === 'flite') return openFlite(named);
  const service = {
    ...(stage.apiKey === undefined ? {} : { apiKey: stage.apiKey }),
    ...(stage.url === undefined ? {} : { url: stage.url }),
  };
  if (stage.kind === 'openai') return openOpenAiSpeech({ ...service, ...named, model: stage.name });
  return openElevenLabsSpeech({
    ...service,
    voice: stage.name,
    ...(stage.voiceModel === undefined ? {} : { model: stage.voiceModel }),
    ...withoutRegion(language),
  });
}

/** What answers in text, by this gateway. */
function openReasoner({ reason: model, reasonApi }: Cascade, ask: typeof fetch): Reasoner {
  const gateway = { model, url: ownUrl, fetch: ask };
  if (reasonApi === 'anthropic') return openAnthropicMessages(gateway);
  if (reasonApi === 'gemini') return openGeminiContent(gateway);
  return openOpenAiChat({ ...gateway, url: `${ownUrl}/v1` });
}

/** A reasoner whose tokens are counted where its requests are: by the gateway that it asks, as those of every client. */
function uncounted(reasoner: Reasoner): Reasoner {
  return {
    api: reasoner.api,
    async *answer(messages, options) {
      for await (const event of reasoner.answer(messages, options)) if (event.kind !== 'used') yield event;
    },
  };
}
