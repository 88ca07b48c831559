import type { Clock } from '@spillway/core/clock';
import {
  type CallTool,
  type ModelLeg,
  openGeminiLive,
  openOpenAiRealtime,
  type Utterance,
} from '@spillway/voice';
import type { RealtimeModel, VoiceSettings } from '../config/read-voice.ts';
import { openCascadeLeg } from './open-cascade-leg.ts';

interface OpenModelOptions {
  readonly settings: Pick<VoiceSettings, 'instructions' | 'language' | 'model' | 'onShortNoise' | 'voice'>;
  readonly tools: readonly CallTool[];
  /** What was said so far, in a session that is over. */
  readonly past: readonly Utterance[];
  /** The URL of the simulated model, where it answers. */
  readonly simulatorUrl: string | undefined;
  /** Asks this gateway itself, for a cascade. */
  readonly fetch: typeof fetch;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
}

/** Opens a session of the model that answers a call. */
export function openModel({
  clock,
  fetch,
  past,
  settings,
  simulatorUrl = '',
  tools,
}: OpenModelOptions): ModelLeg {
  const { instructions, language, model, onShortNoise, voice } = settings;
  if (model?.api === 'cascade')
    return openCascadeLeg({ cascade: model, settings, tools, past, fetch, clock });
  const said = {
    clock,
    past,
    tools,
    ...(instructions === undefined ? {} : { instructions }),
    ...(voice === undefined ? {} : { voice }),
  };
  if (model?.api === 'gemini') {
    const spoken = language === undefined ? {} : { language };
    return openGeminiLive({ ...said, ...spoken, ...addressOf(model, geminiPath, 'x-goog-api-key') });
  }
  const address =
    model === undefined
      ? { model: 'simulated', url: socketUrl(`${simulatorUrl}/v1/realtime`) }
      : addressOf(model, '/realtime', 'authorization');
  return openOpenAiRealtime({
    ...said,
    ...address,
    // This API is told what the caller speaks, without a region.
    ...(language === undefined ? {} : { language: language.replace(/-.*/, '') }),
    // A model that answers by itself would answer the noise.
    answersItself: onShortNoise === 'drop',
  });
}

/** Where Gemini's API has its socket, behind the base URL of its SDK. */
const geminiPath = '/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent';

/** Where a provider's model is, and its key in the header that the API reads, or in the configured one. */
function addressOf(
  { name, provider }: RealtimeModel,
  path: string,
  usualHeader: string,
): {
  readonly apiKey?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly model: string;
  readonly url: string;
} {
  const { apiKey, keyHeader = usualHeader, query, url } = provider;
  const address = {
    model: name,
    url: socketUrl(`${url}${path}${query === undefined ? '' : `?${query}`}`),
  };
  if (apiKey === undefined) return address;
  return keyHeader === usualHeader
    ? { ...address, apiKey }
    : { ...address, headers: { [keyHeader]: apiKey } };
}

function socketUrl(url: string): string {
  return url.replace(/^http/, 'ws');
}
