import { plainStart } from '../source/codings.ts';
import type { Reply } from '../source/reply.ts';

/**
 * The largest body of a refusal (a provider's answer with an error status) that is read whole. A larger one
 * is handed on as it comes.
 */
export const maxRefusalBytes = 65_536;
/**
 * How long a refusal's body may take, if `responseTimeoutMs` is not shorter. After that the client gets the
 * status without the body.
 */
export const maxRefusalMs = 10_000;

/** The longest pause that the gateway waits for a provider. With a longer one the client decides. */
const maxDelayMs = 10_000;

/**
 * How long to wait before the next try, in milliseconds: the provider's own delay, else `otherwiseMs`.
 * `undefined`: no other try. The status is then not 429 or 503, `x-should-retry` forbids it, the delay is
 * more than 10 s, or the key's quota is used up.
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

/**
 * The delay that a provider's headers state, in the order in which the official SDKs read them. A date in the
 * past is ignored.
 */
export function statedDelayMs(reply: Pick<Reply, 'header'>, dateMs: number): number | undefined {
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
