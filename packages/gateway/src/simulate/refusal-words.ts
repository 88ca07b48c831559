import type { Budget } from './capacity.ts';

/** How a provider's API says that it is asked for too much. */
export interface RefusalWords {
  /** Of an error with 429. */
  readonly limited: { readonly type: string; readonly code: string };
  /** Of one with another status. */
  readonly overloaded: { readonly type: string; readonly code: string };
  /** With each answer: what is left of the requests of a minute. */
  headers(budget: Budget): Readonly<Record<string, string>>;
}

/** A reset is a time from now: `17ms`, `8.64s`, `6m0s`. */
export const openaiRefusals: RefusalWords = {
  limited: { type: 'requests', code: 'rate_limit_exceeded' },
  overloaded: { type: 'server_error', code: 'server_overloaded' },
  headers: ({ limit, remaining, resetMs }) => ({
    'x-ratelimit-limit-requests': String(limit),
    'x-ratelimit-remaining-requests': String(remaining),
    'x-ratelimit-reset-requests': span(resetMs),
  }),
};

/** A reset is a date: `2026-01-01T00:00:00Z`. Overloaded is status 529 there. */
export const anthropicRefusals: RefusalWords = {
  limited: { type: 'rate_limit_error', code: 'rate_limit_error' },
  overloaded: { type: 'overloaded_error', code: 'overloaded_error' },
  headers: ({ limit, remaining, resetMs }) => ({
    'anthropic-ratelimit-requests-limit': String(limit),
    'anthropic-ratelimit-requests-remaining': String(remaining),
    'anthropic-ratelimit-requests-reset': new Date(Date.now() + resetMs)
      .toISOString()
      .replace(/\.\d+Z$/, 'Z'),
  }),
};

/** Gemini has no such headers. */
export const geminiRefusals: RefusalWords = {
  limited: { type: 'resource_exhausted', code: 'resource_exhausted' },
  overloaded: { type: 'unavailable', code: 'unavailable' },
  headers: () => ({}),
};

function span(ms: number): string {
  if (ms < 1000) return `${Math.ceil(ms)}ms`;
  const seconds = Math.ceil(ms / 10) / 100;
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${Number((seconds % 60).toFixed(2))}s`;
}
