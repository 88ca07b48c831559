/** The longest time that a provider is believed, in milliseconds: what is longer is asked for again. */
const maxPauseMs = 600_000;

/** What is used up, and when there is more: the pairs of headers of OpenAI's and Anthropic's APIs, and those that others took from them. */
const remainders = [
  ['x-ratelimit-remaining-requests', 'x-ratelimit-reset-requests'],
  ['x-ratelimit-remaining-tokens', 'x-ratelimit-reset-tokens'],
  ['anthropic-ratelimit-requests-remaining', 'anthropic-ratelimit-requests-reset'],
  ['anthropic-ratelimit-tokens-remaining', 'anthropic-ratelimit-tokens-reset'],
  ['anthropic-ratelimit-input-tokens-remaining', 'anthropic-ratelimit-input-tokens-reset'],
  ['anthropic-ratelimit-output-tokens-remaining', 'anthropic-ratelimit-output-tokens-reset'],
] as const;

/** The head of a provider's reply, as far as it tells when another request makes sense. */
export interface HintedReply {
  readonly status: number;
  header(name: string): string | undefined;
}

/**
 * How long a provider asks to be left alone, in milliseconds, at most ten minutes; 0: it does not. `statedMs`: the delay that its
 * `Retry-After` states, which counts beside 429 and 5xx alone: other answers use the header for something else.
 */
export function pauseMs(reply: HintedReply, statedMs: number | undefined, dateMs: number): number {
  const isRefusal = reply.status === 429 || reply.status >= 500;
  const waits = remainders.flatMap(([remaining, reset]) =>
    reply.header(remaining)?.trim() === '0' ? (resetMs(reply.header(reset), dateMs) ?? []) : [],
  );
  if (isRefusal && statedMs !== undefined) waits.push(statedMs);
  return Math.min(maxPauseMs, Math.max(0, ...waits));
}

/** A time until there is more: `6m0s`, `1.5s`, `20ms`, a number of seconds, or a date. */
function resetMs(text = '', dateMs: number): number | undefined {
  const parts = /^(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?$/.exec(text);
  if (text !== '' && parts !== null) {
    const [, hours = '0', minutes = '0', seconds = '0', ms = '0'] = parts;
    return ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000 + Number(ms);
  }
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text) * 1000;
  // oxlint-disable-next-line no-restricted-globals -- It reads a date, and not the time.
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : at - dateMs;
}
