import { plainStart } from '../source/codings.ts';
import type { Reply } from '../source/reply.ts';

/** So much of a refusal's body is held, to be told whole; what is larger is handed on as it comes. */
export const maxRefusalBytes = 65_536;
/** How long a refusal's body may take, if `responseTimeoutMs` is not shorter: then its status is told without it. */
export const maxRefusalMs = 10_000;

/** A provider that asks for a longer pause is not waited for: the client decides. */
const maxDelayMs = 10_000;

/**
 * How long to wait before a provider is asked again, in milliseconds: as long as it says, else `otherwiseMs`. `undefined`: it
 * shall not be asked again, because it is not just busy (429, 503), says so (`x-should-retry`), wants more than 10 s, or
 * has no quota left for whoever asks.
 */
export async function retryDelayMs(
  reply: Reply,
  otherwiseMs: number,
  dateMs: number,
): Promise<number | undefined> {
  const isBusy = reply.status === 429 || reply.status === 503;
  if (!isBusy || reply.header('x-should-retry')?.toLowerCase() === 'false') return undefined;
  const delayMs = statedDelayMs(reply, dateMs) ?? otherwiseMs;
  if (delayMs > maxDelayMs) return undefined;
  const start = await reply.peek(maxRefusalBytes, maxRefusalMs);
  const words = await plainStart(start, reply.header('content-encoding'), maxRefusalBytes);
  return isQuotaSpent(words) ? undefined : delayMs;
}

/** In the order in which the official SDKs look; a date that has passed says nothing. */
function statedDelayMs(reply: Reply, dateMs: number): number | undefined {
  const seconds = reply.header('retry-after') ?? '';
  const stated = [
    Number.parseFloat(reply.header('retry-after-ms') ?? ''),
    Number.parseFloat(seconds) * 1000,
    // oxlint-disable-next-line no-restricted-globals -- It reads a date, and not the time.
    Date.parse(seconds) - dateMs,
  ];
  return stated.find((ms) => ms >= 0);
}

function isQuotaSpent(words: Buffer): boolean {
  return /"(?:code|type)"\s*:\s*"insufficient_quota"/.test(words.toString('latin1'));
}
