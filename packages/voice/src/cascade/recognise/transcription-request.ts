import type { Clock, Timer } from '@spillway/core/clock';
import { StageError, type StageErrorCode } from '../stage-error.ts';
import { readErrorCode, readTranscript, type Transcript } from './transcription-answer.ts';
import type { TranscriptionSettings } from './transcription-options.ts';
import type { SentForm } from './wav-form.ts';

/** A failure that may pass is tried once more, not before this. */
const retryAfterMs = 250;

/** One utterance that is to be understood. */
export interface TranscriptionRequest {
  readonly settings: TranscriptionSettings;
  readonly form: SentForm;
  readonly timeoutMs: number;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly signal: AbortSignal;
  readonly onText: (text: string) => void;
}

/** A failure that ends the recogniser, however often it is tried. */
export class FinalStageError extends StageError {}

/**
 * Asks for the words of an utterance, twice if the first failure may pass and there is time for it.
 *
 * @throws {StageError} Rejects with the signal's reason when that is aborted.
 */
export async function requestTranscript(request: TranscriptionRequest): Promise<Transcript> {
  const { clock, signal, timeoutMs } = request;
  const endMs = clock.nowMs() + timeoutMs;
  const late = new StageError('late', `It did not answer within ${timeoutMs} ms.`);
  const deadline = new AbortController();
  const timer = clock.after(timeoutMs, () => deadline.abort(late));
  const either = AbortSignal.any([signal, deadline.signal]);
  try {
    try {
      return await ask(request, either);
    } catch (error) {
      if (!(error instanceof StageError) || !mayPass(error)) throw error;
      const waitMs = Math.max(retryAfterMs, error.retryAfterMs ?? 0);
      if (clock.nowMs() + waitMs >= endMs) throw error;
      await wait(clock, waitMs, either);
    }
    return await ask(request, either);
  } finally {
    timer.stop();
  }
}

async function ask(
  { form, onText, settings }: TranscriptionRequest,
  signal: AbortSignal,
): Promise<Transcript> {
  let response: Response;
  try {
    response = await fetch(settings.url, {
      method: 'POST',
      headers: { ...settings.headers, 'content-type': form.contentType },
      body: form.body,
      redirect: 'error',
      signal,
    });
  } catch (error) {
    signal.throwIfAborted();
    throw new StageError('unreachable', `The connection failed: ${reasonOf(error)}.`);
  }
  try {
    if (response.ok) return await readTranscript(response, onText);
    throw await refusalOf(response);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof StageError) throw error;
    throw new StageError('lost', `The connection failed in the middle: ${reasonOf(error)}.`);
  }
}

async function refusalOf(response: Response): Promise<StageError> {
  const { status } = response;
  const apiCode = await readErrorCode(response);
  const message = `It answered with HTTP status ${status}${apiCode === undefined ? '' : ` (${apiCode})`}.`;
  const after = retryAfterOf(response.headers);
  const options = after === undefined ? {} : { retryAfterMs: after };
  if (apiCode === 'insufficient_quota' || status === 402) return new FinalStageError('rate_limited', message);
  const final: Readonly<Record<number, StageErrorCode>> = {
    401: 'unauthorized',
    403: 'unauthorized',
    404: 'refused',
  };
  const code = final[status];
  if (code !== undefined) return new FinalStageError(code, message);
  if (status === 429 || status === 503 || status === 529)
    return new StageError('rate_limited', message, options);
  return status >= 500 ? new StageError('lost', message, options) : new StageError('refused', message);
}

/** Whether the same request may succeed a little later. */
function mayPass(error: StageError): boolean {
  return !(error instanceof FinalStageError) && ['rate_limited', 'lost', 'unreachable'].includes(error.code);
}

/** How long the API wants to be left alone: in milliseconds or seconds. A date is not read: clocks differ. */
function retryAfterOf(headers: Headers): number | undefined {
  const ms = Number(headers.get('retry-after-ms') ?? Number.NaN);
  if (ms >= 0) return ms;
  const seconds = Number(headers.get('retry-after') ?? Number.NaN);
  return seconds >= 0 ? seconds * 1000 : undefined;
}

/** The code of a failure of the connection: its message could name what was asked for. */
function reasonOf(error: unknown): string {
  const cause: unknown = error instanceof Error ? (error.cause ?? error) : undefined;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return cause instanceof Error ? cause.name : 'Error';
}

async function wait(clock: Pick<Clock, 'after'>, ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, reject, resolve } = Promise.withResolvers<void>();
  const timer: Timer = clock.after(ms, resolve);
  const stop = (): void => {
    timer.stop();
    reject(signal.reason);
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    await promise;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
