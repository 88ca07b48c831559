import { anthropicMessages } from '@spillway/core/format/anthropic-messages';
import type { Format } from '@spillway/core/format/format';
import { gemini } from '@spillway/core/format/gemini';
import { openaiChat } from '@spillway/core/format/openai-chat';

/** The APIs that providers have: where their paths begin, and how they know who asks. */
export const apiNames = ['openai', 'anthropic', 'gemini'] as const;
export type Api = (typeof apiNames)[number];

interface ApiRules {
  /** The format of errors on paths that have no format of their own. */
  readonly errors: Format;
  /**
   * The headers in which a client may bring a key of its own for the provider. A configured key goes into the
   * first.
   */
  readonly keyHeaders: readonly [string, ...string[]];
  /** With nothing else configured, this environment variable puts the provider at `url` behind the gateway. */
  readonly keyVariable: string;
  readonly url: string;
  /** What of a request's path the base URL has already, as this API's SDKs want it. */
  readonly pathInUrl: string;
  /** What some SDKs want at the end of the base URL although the requests' paths have it: taken off. */
  readonly urlTail: string;
}

export const apis: Readonly<Record<Api, ApiRules>> = {
  openai: {
    errors: openaiChat,
    keyHeaders: ['authorization'],
    keyVariable: 'OPENAI_API_KEY',
    url: 'https://api.openai.com/v1',
    pathInUrl: '/v1',
    urlTail: '',
  },
  anthropic: {
    errors: anthropicMessages,
    keyHeaders: ['x-api-key', 'authorization'],
    keyVariable: 'ANTHROPIC_API_KEY',
    url: 'https://api.anthropic.com',
    pathInUrl: '',
    urlTail: '/v1',
  },
  gemini: {
    errors: gemini,
    keyHeaders: ['x-goog-api-key', 'authorization'],
    keyVariable: 'GEMINI_API_KEY',
    url: 'https://generativelanguage.googleapis.com',
    pathInUrl: '',
    urlTail: '/v1beta',
  },
};
