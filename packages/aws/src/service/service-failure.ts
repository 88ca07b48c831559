import { SpillwayError } from '@spillway/core';
import { SinkDenied } from '@spillway/core/engine';

/**
 * What AWS or its client has thrown, as an error of ours. Without the original as a cause: that has the request's headers,
 * and of a wrong signature what was signed.
 */
export function serviceFailure(
  code: 'sink_failed' | 'source_failed',
  what: string,
  error: unknown,
): SpillwayError {
  if (error instanceof SpillwayError) return error;
  const { message, name } = told(error);
  if (message.includes('Region is missing'))
    return new SpillwayError(
      'invalid_option',
      `${what}: expected a region. Set region=… in the url, or AWS_REGION.`,
    );
  const failure = `${what} failed: ${`${name}: ${message}`.slice(0, 300)}`;
  if (name === 'CredentialsProviderError' && code === 'sink_failed')
    return new SinkDenied(`${what} failed: ${message}`, { advice: keysMissing });
  const advice = adviceFor(name);
  const words = advice === '' ? failure : `${failure.replace(/[.\s]*$/, '.')} ${advice}`;
  return code === 'sink_failed' && denials.test(name)
    ? new SinkDenied(words)
    : new SpillwayError(code, words);
}

function adviceFor(name: string): string {
  if (name === 'NoSuchBucket') return 'Make the bucket, or name another one in the URL.';
  if (/NonExistentQueue|QueueDoesNotExist/.test(name))
    return 'Make the queue (aws sqs create-queue), or name another one in the URL.';
  return '';
}

const keysMissing =
  'No keys were found where AWS’s own tools have them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile that AWS_PROFILE names, a web identity, or the role of the machine.';

/** The names of answers that say that keys or rights are not enough. */
const denials =
  /AccessDenied|InvalidAccessKeyId|InvalidClientTokenId|InvalidSecurity|SignatureDoesNotMatch|InvalidSignature|UnrecognizedClient|ExpiredToken|MissingAuthenticationToken|^Forbidden$/;

/** Does what has to be done within a time, with errors as ports have them. */
export async function withinTime<Value>(
  code: 'sink_failed' | 'source_failed',
  what: string,
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    return await work(signal);
  } catch (error) {
    if (signal.aborted)
      throw new SpillwayError(code, `${what}: expected an answer within ${timeoutMs} ms, got none.`);
    throw serviceFailure(code, what, error);
  }
}

/** The name of an error, which AWS's are told apart by. */
export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

/** The status of the answer that the error is, or that the client could not read, if it is one. */
export function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const metadata: unknown = '$metadata' in error ? error.$metadata : undefined;
  const answer: unknown = '$response' in error ? error.$response : undefined;
  const statuses = [
    Object(metadata) as { readonly httpStatusCode?: unknown },
    { httpStatusCode: (Object(answer) as { readonly statusCode?: unknown }).statusCode },
  ].map(({ httpStatusCode }) => httpStatusCode);
  return statuses.find((status) => typeof status === 'number');
}

/** Whether a store, or a proxy before it, does not take a body of that size, whenever it comes. */
export function isTooLarge(error: unknown): boolean {
  return statusOf(error) === 413 || nameOf(error) === 'EntityTooLarge';
}

function told(error: unknown): { readonly message: string; readonly name: string } {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  if (!(first instanceof Error)) return { message: String(first), name: 'Error' };
  const code = codeOf(first);
  const status = statusOf(first);
  // The client's own words are about its parser.
  if (status !== undefined && first.message.includes('$response'))
    return {
      name: `HTTP ${status}`,
      message: 'an answer that is not one of AWS’s. Is there a proxy before it?',
    };
  return { message: first.message || (code ?? 'no message'), name: code ?? first.name };
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
