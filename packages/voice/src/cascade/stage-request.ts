import { z } from 'zod';
import { readBounded } from './read-bounded.ts';
import { StageError, type StageErrorCode } from './stage-error.ts';

/** What is read of an error. */
const maxErrorBytes = 16_384;

/** What a stage asks for. */
export interface StageRequest {
  /** Who is asked, in messages: `The speaker`. */
  readonly who: string;
  readonly url: URL;
  /** With the key. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: NonNullable<RequestInit['body']>;
  readonly signal: AbortSignal;
  /** Default: the platform's. */
  readonly fetch?: typeof fetch | undefined;
}

/** A failure that stays, however often it is tried: the key, the address, or there is no money left. */
export class FinalStageError extends StageError {}

/** Whether a failure stays, however often it is tried. */
export function isFinal(error: StageError): boolean {
  return error instanceof FinalStageError || error.code === 'unauthorized';
}

/**
 * Asks a stage by HTTP. Messages of errors have its code, and nothing else that it said: that could be the key, or words of the call.
 *
 * @returns the response, if its status says that it worked.
 * @throws {StageError} if not, and the signal's reason when it was aborted.
 */
export async function askStage({
  body,
  fetch: ask = fetch,
  headers,
  signal,
  url,
  who,
}: StageRequest): Promise<Response> {
  let response: Response;
  try {
    response = await ask(url, { method: 'POST', headers, body, signal, redirect: 'error' });
  } catch (error) {
    signal.throwIfAborted();
    throw new StageError('unreachable', `${who} cannot be reached: ${reasonOf(error)}.`, { cause: error });
  }
  if (response.ok) return response;
  throw await refusalOf(response, who, signal);
}

/** What went wrong with a connection: a code, because a message could name what was asked for. */
export function reasonOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : undefined;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return cause instanceof Error ? cause.name : 'Error';
}

const lasting: Readonly<Record<number, StageErrorCode>> = {
  401: 'unauthorized',
  402: 'rate_limited',
  403: 'unauthorized',
  404: 'refused',
};

async function refusalOf(response: Response, who: string, signal: AbortSignal): Promise<StageError> {
  const { headers, status } = response;
  const apiCode = await errorCodeOf(response, signal);
  const message = `${who} answered with HTTP status ${status}${apiCode === undefined ? '' : ` (${apiCode})`}.`;
  const code = apiCode === 'insufficient_quota' ? 'rate_limited' : lasting[status];
  if (code !== undefined) return new FinalStageError(code, message);
  const after = retryAfterOf(headers);
  const options = after === undefined ? {} : { retryAfterMs: after };
  if (status === 429 || status === 503 || status === 529)
    return new StageError('rate_limited', message, options);
  return new StageError(status >= 500 || status === 408 ? 'unreachable' : 'refused', message, options);
}

/** The code of an error, if it looks like one. Rejects only when it is aborted. */
async function errorCodeOf(response: Response, signal: AbortSignal): Promise<string | undefined> {
  try {
    const bytes = await readBounded(response, maxErrorBytes);
    const { error } = errorShape.parse(JSON.parse(Buffer.from(bytes ?? []).toString()));
    const code = error.code ?? error.type ?? '';
    return /^[\w.-]{1,64}$/.test(code) ? code : undefined;
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

const errorShape = z.object({ error: z.object({ code: z.string().nullish(), type: z.string().nullish() }) });

/** How long the API wants to be left alone: in milliseconds or seconds. A date is not read: clocks differ. */
function retryAfterOf(headers: Headers): number | undefined {
  const ms = Number(headers.get('retry-after-ms') ?? Number.NaN);
  if (ms >= 0) return ms;
  const seconds = Number(headers.get('retry-after') ?? Number.NaN);
  return seconds >= 0 ? seconds * 1000 : undefined;
}
