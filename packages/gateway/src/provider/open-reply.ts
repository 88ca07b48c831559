import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError, overloaded } from '@spillway/server/errors';
import { isOutOfDescriptors } from '../memory/descriptors.ts';
import {
  CertificateError,
  ConnectTimeoutError,
  ResponseTimeoutError,
  UnsentError,
} from '../source/provider-connection.ts';
import type { ProviderPool } from '../source/provider-pools.ts';
import { sendAndFollow } from './redirect.ts';
import type { ProviderRequest, Reply } from '../source/reply.ts';
import { ResponseError } from '../source/response-reader.ts';
import { retryDelayMs } from './retry-hints.ts';

export interface RetryOptions {
  /** Tries after the first where the provider answered that it is busy. */
  readonly retries: number;
  /** Tries after the first where no connection was made. */
  readonly connectRetries: number;
  readonly signal: AbortSignal;
  /** Called for each answer, also for one after which the provider is asked again. */
  readonly onAnswer?: () => void;
  /** Called before each wait. */
  readonly onRetry: (reason: string, delayMs: number) => void;
}

const baseDelayMs = 250;

/**
 * Gets a provider's reply, trying again where nothing of the request was handed to a connection, and, if `retries` are wanted,
 * where the provider answered 429 or 503 and its hints allow it. Anything else could have been generated, and billed, already; no
 * code of the system's says so, because the same ones come from connections that carry a request.
 *
 * The waits double from 250 ms, with full jitter (Brooker, "Exponential Backoff And Jitter", AWS
 * Architecture Blog, 2015), unless the provider says another.
 *
 * With `retries` the last answer, if it is an error, says that nobody shall ask again: a client that does so, too, would
 * multiply the tries.
 *
 * @throws the signal's reason at once when it is aborted, also during a wait.
 * @throws {GatewayError} `upstream_unreachable`, `upstream_untrusted`, `upstream_cut`, `upstream_timeout` or `upstream_invalid`; `overloaded` when this process has no
 *   file descriptor for it.
 */
export async function openReply(
  pool: ProviderPool,
  request: ProviderRequest,
  { connectRetries, retries, signal, onAnswer, onRetry }: RetryOptions,
): Promise<Reply> {
  for (let attempt = 0; ; attempt += 1) {
    const backoffMs = Math.random() * baseDelayMs * 2 ** attempt;
    let delayMs: number;
    let reason: string;
    try {
      const reply = await sendAndFollow(pool, request, signal);
      onAnswer?.();
      if (retries === 0 || reply.status < 400) return reply;
      const wantedMs = attempt < retries ? await retryDelayMs(reply, backoffMs) : undefined;
      signal.throwIfAborted();
      if (wantedMs === undefined) {
        reply.forbidRetry();
        return reply;
      }
      reply.discard();
      delayMs = wantedMs;
      reason = `status ${reply.status}`;
    } catch (error) {
      signal.throwIfAborted();
      const isShort = isOutOfDescriptors(causeOf(error));
      if (isShort) pool.makeRoom();
      const isTried = !isShort && !(error instanceof UnsentError);
      if (isTried || attempt >= connectRetries || causeOf(error) instanceof CertificateError) {
        const told = isShort ? outOfDescriptors(error) : asUnreachable(error);
        told.isFinal = !isShort && retries > 0;
        throw told;
      }
      delayMs = backoffMs;
      reason = codeOf(causeOf(error)) ?? 'connection failed';
    }
    onRetry(reason, delayMs);
    try {
      await sleep(delayMs, undefined, { signal });
    } catch {
      signal.throwIfAborted();
    }
  }
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

/** What it failed with, whether or not it was sent. */
function causeOf(error: unknown): unknown {
  return error instanceof UnsentError ? error.cause : error;
}

function asUnreachable(failed: unknown): GatewayError {
  const error = causeOf(failed);
  if (error instanceof GatewayError) return error;
  if (error instanceof ConnectTimeoutError) {
    return new GatewayError(
      'upstream_timeout',
      'The provider could not be connected to in time (connectTimeoutMs).',
      {
        cause: error,
      },
    );
  }
  if (error instanceof ResponseTimeoutError) {
    return new GatewayError(
      'upstream_timeout',
      'The provider did not begin to answer in time (responseTimeoutMs).',
      { cause: error },
    );
  }
  if (error instanceof CertificateError) {
    return new GatewayError(
      'upstream_untrusted',
      `The provider's certificate is not trusted (${error.code}): expected one for its name, valid now, by an authority that Node knows or NODE_EXTRA_CA_CERTS names.`,
      { cause: error },
    );
  }
  if (error instanceof ResponseError) {
    const message = `The provider's answer: expected valid HTTP/1.1, got something else. ${error.message}`;
    return new GatewayError('upstream_invalid', message, { cause: error });
  }
  const isCut = !(failed instanceof UnsentError);
  return new GatewayError(
    isCut ? 'upstream_cut' : 'upstream_unreachable',
    isCut
      ? `The provider closed the connection before it answered (${codeOf(error) ?? 'no code'}).`
      : `The provider cannot be reached (${codeOf(error) ?? 'no code'}).`,
    { cause: error },
  );
}
