/** The longest time that a provider is believed, in milliseconds: what is longer is asked for again. */
const maxPauseMs = 600_000;

/**
 * What is used up, how much there is of it, and when all of it is there again: the headers of OpenAI's and Anthropic's APIs, and
 * of those that took them over.
 */
const remainders = [
  ['x-ratelimit-remaining-requests', 'x-ratelimit-limit-requests', 'x-ratelimit-reset-requests'],
  ['x-ratelimit-remaining-tokens', 'x-ratelimit-limit-tokens', 'x-ratelimit-reset-tokens'],
  ...['requests', 'tokens', 'input-tokens', 'output-tokens'].map(
    (what) =>
      [
        `anthropic-ratelimit-${what}-remaining`,
        `anthropic-ratelimit-${what}-limit`,
        `anthropic-ratelimit-${what}-reset`,
      ] as const,
  ),
] as const;

/** The part of a limit in tokens that has to be there again: what a request needs is not known. */
const tokensPart = 1 / 20;

/** The head of a provider's reply, as far as it tells when another request makes sense. */
export interface HintedReply {
  readonly status: number;
  header(name: string): string | undefined;
}

/**
 * How long a provider asks to be left alone, in milliseconds, at most ten minutes; 0: it does not. Where nothing remains of a
 * limit, its reset says when all of it is there again; so one request is there after that part of the time. `statedMs`: the delay that its
 * `Retry-After` states, which counts beside 429 and 5xx alone: other answers use the header for something else.
 */
export function pauseMs(reply: HintedReply, statedMs: number | undefined, dateMs: number): number {
  const isRefusal = reply.status === 429 || reply.status >= 500;
  const waits = remainders.flatMap(([remaining, limit, reset]) => {
    if (reply.header(remaining)?.trim() !== '0') return [];
    const allMs = resetMs(reply.header(reset), dateMs) ?? 0;
    const part = remaining.includes('tokens')
      ? tokensPart
      : 1 / Math.max(1, Number(reply.header(limit)) || 1);
    return [Math.ceil(allMs * part)];
  });
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
