import { anthropicMessages } from '@spillway/core/format/anthropic-messages';
import type { Format } from '@spillway/core/format/format';
import { gemini } from '@spillway/core/format/gemini';
import { openaiChat } from '@spillway/core/format/openai-chat';

/**
 * The APIs that providers have: where their paths begin, and how they know who asks. `azure` and `ollama` are the paths that only
 * these two have, `/openai/…` and `/api/…`; below `/v1/` they are as OpenAI.
 */
export const apiNames = ['openai', 'anthropic', 'gemini', 'azure', 'ollama'] as const;
export type Api = (typeof apiNames)[number];

/** Ollama's own paths stream lines of JSON, of which nothing is read: only errors are told in a way of their own. */
const ollama: Format = { ...openaiChat, errorBody: ({ message }) => JSON.stringify({ error: message }) };

interface ApiRules {
  /** The format of errors on paths that have no format of their own. */
  readonly errors: Format;
  /**
   * The headers in which a client may bring a key of its own for the provider. A configured key goes into the
   * first.
   */
  readonly keyHeaders: readonly [string, ...string[]];
  /**
   * With nothing else configured, this environment variable puts the provider at this URL behind the gateway; `undefined`:
   * everybody has one at a URL of their own.
   */
  readonly byDefault: { readonly keyVariable: string; readonly url: string } | undefined;
  /** What of a request's path the base URL has already, as this API's SDKs want it. */
  readonly pathInUrl: string;
  /** What some SDKs want at the end of the base URL although the requests' paths have it: taken off. */
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
