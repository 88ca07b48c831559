import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError, overloaded } from '../errors.ts';
import { isOutOfDescriptors } from '../memory/descriptors.ts';
import { CertificateError, ConnectTimeoutError, ResponseTimeoutError } from './provider-connection.ts';
import type { ProviderPool } from './provider-pools.ts';
import { sendAndFollow } from './redirect.ts';
import type { ProviderRequest, Reply } from './reply.ts';
import { ResponseError } from './response-reader.ts';

export interface RetryOptions {
  /** Tries after the first. */
  readonly retries: number;
  readonly signal: AbortSignal;
  /** Called before each wait. */
  readonly onRetry: (reason: string, delayMs: number) => void;
}

/** A provider that asks for a longer pause is not waited for: the client decides. */
const maxRetryAfterMs = 10_000;
const baseDelayMs = 250;

/**
 * Gets a provider's reply, trying again where the provider surely did no work: the connection was
 * not made, or it answered 429 or 503. Anything else could have been generated, and billed, already.
 * The waits double from 250 ms, with full jitter (Brooker, "Exponential Backoff And Jitter", AWS
 * Architecture Blog, 2015); a `Retry-After` up to 10 s is obeyed instead.
 *
 * @throws the signal's reason at once when it is aborted, also during a wait.
 * @throws {GatewayError} `upstream_unreachable`, `upstream_untrusted`, `upstream_cut`, `upstream_timeout` or `upstream_invalid`; `overloaded` when this process has no
 *   file descriptor for it.
 */
export async function openReply(
  pool: ProviderPool,
  request: ProviderRequest,
  { retries, signal, onRetry }: RetryOptions,
): Promise<Reply> {
  for (let attempt = 0; ; attempt += 1) {
    const backoffMs = Math.random() * baseDelayMs * 2 ** attempt;
    const isLast = attempt >= retries;
    let delayMs: number;
    let reason: string;
    try {
      const reply = await sendAndFollow(pool, request, signal);
      const retryAfterMs = retryAfter(reply);
      const isBusy = reply.status === 429 || reply.status === 503;
      if (!isBusy || isLast || (retryAfterMs ?? 0) > maxRetryAfterMs) return reply;
      reply.discard();
      delayMs = retryAfterMs ?? backoffMs;
      reason = `status ${reply.status}`;
    } catch (error) {
      signal.throwIfAborted();
      const isShort = isOutOfDescriptors(error);
      if (isShort) pool.makeRoom();
      if (isLast || !(isShort || isUnsent(error)))
        throw isShort ? outOfDescriptors(error) : asUnreachable(error);
      delayMs = backoffMs;
      reason = codeOf(error) ?? 'connection failed';
    }
    onRetry(reason, delayMs);
    try {
      await sleep(delayMs, undefined, { signal });
    } catch {
      signal.throwIfAborted();
    }
  }
}

/** The seconds that a provider asks to wait, as milliseconds; a date is not understood on purpose. */
function retryAfter(reply: Reply): number | undefined {
  const value = reply.header('retry-after');
  return value !== undefined && /^\d{1,6}$/.test(value) ? Number(value) * 1000 : undefined;
}

/** Errors of making a connection: nothing of the request left this machine. */
const unsentCodes = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'CONNECT_TIMEOUT',
]);

function isUnsent(error: unknown): boolean {
  const code = codeOf(error);
  return code !== undefined && unsentCodes.has(code);
}

/** The system's code; of several tried addresses, the first one's. */
function codeOf(error: unknown): string | undefined {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

function outOfDescriptors(cause: unknown): GatewayError {
  const message = 'The gateway has no file descriptor left for a connection to the provider (ulimit -n).';
  return overloaded(message, { cause });
}

function asUnreachable(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  if (error instanceof ConnectTimeoutError) {
    return new GatewayError('upstream_timeout', 'The provider could not be connected to in time.', {
      cause: error,
    });
  }
  if (error instanceof ResponseTimeoutError) {
    return new GatewayError('upstream_timeout', 'The provider did not answer in time.', { cause: error });
  }
  if (error instanceof CertificateError) {
    return new GatewayError(
      'upstream_untrusted',
      `The provider's certificate is not trusted (${error.code}): expected one for its name, valid now, by an authority that Node knows or NODE_EXTRA_CA_CERTS names.`,
      { cause: error },
    );
  }
  if (error instanceof ResponseError) {
    return new GatewayError('upstream_invalid', 'The provider did not answer in valid HTTP.', {
      cause: error,
    });
  }
  const isCut = !isUnsent(error);
  return new GatewayError(
    isCut ? 'upstream_cut' : 'upstream_unreachable',
    isCut
      ? `The provider closed the connection before it answered (${codeOf(error) ?? 'no code'}).`
      : `The provider cannot be reached (${codeOf(error) ?? 'no code'}).`,
    { cause: error },
  );
}
