import { anthropicMessages } from '@spillway/core/format/anthropic-messages';
import type { Format } from '@spillway/core/format/format';
import { gemini } from '@spillway/core/format/gemini';
import { openaiChat } from '@spillway/core/format/openai-chat';

/**
 * The APIs of providers. Each has its own paths and its own way to authenticate. `azure` and `ollama` are for
 * the paths that only they have, `/openai/…` and `/api/…`. Their paths below `/v1/` count as `openai`.
 */
export const apiNames = ['openai', 'anthropic', 'gemini', 'azure', 'ollama'] as const;
export type Api = (typeof apiNames)[number];

/**
 * Ollama's own paths stream lines of JSON, which pass through unread. Only its errors have a format of their
 * own.
 */
const ollama: Format = { ...openaiChat, errorBody: ({ message }) => JSON.stringify({ error: message }) };

interface ApiRules {
  /** The format of errors on paths without a known format. */
  readonly errors: Format;
  /**
   * The headers in which a client may send its own key for the provider. The first one carries a configured
   * key.
   */
  readonly keyHeaders: readonly [string, ...string[]];
  /**
   * If no provider is configured, the provider at this URL is used when this environment variable holds its
   * key; `undefined`: there is no common URL.
   */
  readonly byDefault: { readonly keyVariable: string; readonly url: string } | undefined;
  /** The start of a request's path that the base URL contains already, as this API's SDKs expect it. */
  readonly pathInUrl: string;
  /** The end of a base URL that some SDKs expect although requests' paths contain it: it is cut off. */
  readonly urlTail: string;
}

export const apis: Readonly<Record<Api, ApiRules>> = {
  openai: {
    errors: openaiChat,
    keyHeaders: ['authorization', 'api-key'],
    byDefault: { keyVariable: 'OPENAI_API_KEY', url: 'https://api.openai.com/v1' },
    pathInUrl: '/v1',
    urlTail: '',
  },
  anthropic: {
    errors: anthropicMessages,
    keyHeaders: ['x-api-key', 'authorization'],
    byDefault: { keyVariable: 'ANTHROPIC_API_KEY', url: 'https://api.anthropic.com' },
    pathInUrl: '',
    urlTail: '/v1',
  },
  gemini: {
    errors: gemini,
    keyHeaders: ['x-goog-api-key', 'authorization'],
    byDefault: { keyVariable: 'GEMINI_API_KEY', url: 'https://generativelanguage.googleapis.com' },
    pathInUrl: '',
    urlTail: '/v1beta',
  },
  azure: {
    errors: openaiChat,
    keyHeaders: ['api-key', 'authorization'],
    byDefault: undefined,
    pathInUrl: '',
    urlTail: '/openai',
  },
  ollama: {
    errors: ollama,
    keyHeaders: ['authorization'],
    byDefault: undefined,
    pathInUrl: '',
    urlTail: '/api',
  },
};
