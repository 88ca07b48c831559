import { GatewayError, overloaded } from '@spillway/server/errors';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { isOutOfDescriptors } from '../memory/descriptors.ts';
import { rest } from '../process/rest.ts';
import {
  CertificateError,
  ConnectTimeoutError,
  type ReplyPool,
  ResponseTimeoutError,
  UnsentError,
} from '../source/exchange.ts';
import { sendAndFollow } from './redirect.ts';
import type { ProviderRequest, Reply } from '../source/reply.ts';
import { ResponseError } from '../source/response-reader.ts';
import type { RetryBudget } from './retry-budget.ts';
import { retryDelayMs } from './retry-hints.ts';

export interface RetryOptions {
  readonly clock: ServerClock;
  /** The most tries after the first when the provider answers that it is busy. */
  readonly retries: number;
  /** The most tries after the first when no connection was made. */
  readonly connectRetries: number;
  /** What all tries after the first share with other requests; `undefined`: no bound but the numbers above. */
  readonly budget?: RetryBudget | undefined;
  readonly signal: AbortSignal;
  /** Called for each answer, also for one that is followed by another try. */
  readonly onAnswer?: (reply: Reply) => void;
  /** Called before each wait. */
  readonly onRetry: (reason: string, delayMs: number) => void;
}

const baseDelayMs = 250;

/**
 * Gets a provider's reply. Tries again when no byte of the request was handed to a connection. With `retries`
 * it also tries again after 429 or 503, if the provider's hints allow it. After any other failure, an answer
 * could have been generated and billed already. No error code of the system rules that out: the same codes
 * come from connections that carry a request.
 *
 * All tries after the first are taken from the `budget`: without any left, the last answer stands.
 *
 * The waits double from 250 ms, with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture
 * Blog, 2015), unless the provider states a delay.
 *
 * With `retries`, a last answer that is an error tells the client not to try again: its own tries would
 * multiply those of the gateway.
 *
 * @throws the signal's reason at once when it is aborted, also during a wait.
 * @throws {GatewayError} `upstream_unreachable`, `upstream_untrusted`, `client_certificate_refused`,
 *   `proxy_unreachable`, `proxy_refused`, `upstream_cut`, `upstream_timeout` or `upstream_invalid`;
 *   `overloaded` when this process has no file descriptor for a connection.
 */
export async function openReply(
  pool: ReplyPool,
  request: ProviderRequest,
  { budget, clock, connectRetries, retries, signal, onAnswer, onRetry }: RetryOptions,
): Promise<Reply> {
  budget?.asked();
  for (let attempt = 0; ; attempt += 1) {
    const backoffMs = clock.random() * baseDelayMs * 2 ** attempt;
    let delayMs: number;
    let reason: string;
    try {
      const reply = await sendAndFollow(pool, request, signal);
      onAnswer?.(reply);
      if (retries === 0 || reply.status < 400) return reply;
      const wantedMs = attempt < retries ? await retryDelayMs(reply, backoffMs, clock.dateMs()) : undefined;
      signal.throwIfAborted();
      if (wantedMs === undefined || budget?.take() === false) {
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
      const isLast = isTried || attempt >= connectRetries || isFinal(causeOf(error));
      if (isLast || budget?.take() === false) {
        const told = isShort ? outOfDescriptors(error) : asUnreachable(error);
        told.isFinal = !isShort && retries > 0;
        throw told;
      }
      delayMs = backoffMs;
      reason = codeOf(causeOf(error)) ?? 'connection failed';
    }
    onRetry(reason, delayMs);
    await rest(clock, delayMs, signal);
    signal.throwIfAborted();
  }
}

/**
 * Whether another try would fail in the same way. A wrong password that is sent again and again may also lock
 * an account.
 */
function isFinal(error: unknown): boolean {
  const isRefused = error instanceof GatewayError && error.code === 'proxy_refused';
  return isRefused || error instanceof CertificateError || isCertificateRefusal(error);
}

/**
 * Whether the provider refused the gateway's certificate. Its TLS sends an alert; in version 1.3 that comes
 * after the handshake.
 */
function isCertificateRefusal(error: unknown): boolean {
  return /^ERR_SSL_\w*ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED)$/.test(
    codeOf(error) ?? '',
  );
}

/** The system's error code. If several addresses were tried, the first one's. */
function codeOf(error: unknown): string | undefined {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

function outOfDescriptors(cause: unknown): GatewayError {
  const message = 'The gateway has no file descriptor left for a connection to the provider (ulimit -n).';
  return overloaded(message, { cause });
}

/** The failure itself, also when it is the cause of an {@link UnsentError}. */
function causeOf(error: unknown): unknown {
  return error instanceof UnsentError ? error.cause : error;
}

/** The failure to get a reply, as a client is told of it. */
export function asUnreachable(failed: unknown): GatewayError {
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
      `The provider's certificate is not trusted (${error.code}): expected one for its name, valid now, by an authority of its caFile; without a caFile, by one that Node knows or NODE_EXTRA_CA_CERTS names.`,
      { cause: error },
    );
  }
  if (isCertificateRefusal(error)) {
    return new GatewayError(
      'client_certificate_refused',
      `The provider refuses the gateway's certificate (${codeOf(error)}): expected one that it trusts, valid now (certFile, keyFile).`,
      { cause: error },
    );
  }
  if (error instanceof ResponseError) {
    const message = `The provider's answer: expected valid HTTP, got something else. ${error.message}`;
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
