import type { Clock } from '@spillway/core/clock';
import { orAborted } from '@spillway/core/or-aborted';
import { StageError } from '../stage-error.ts';
import { askStage, FinalStageError, reasonOf } from '../stage-request.ts';
import { readTranscript, type Transcript } from './transcription-answer.ts';
import type { TranscriptionSettings } from './transcription-options.ts';
import type { SentForm } from './wav-form.ts';

const who = 'The recogniser';
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
  const response = await askStage({
    who,
    url: settings.url,
    headers: { ...settings.headers, 'content-type': form.contentType },
    body: form.body,
    signal,
  });
  try {
    return await readTranscript(response, onText);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof StageError) throw error;
    throw new StageError('lost', `${who} was cut in the middle of its answer: ${reasonOf(error)}.`);
  }
}

/** Whether the same request may succeed a little later. */
function mayPass(error: StageError): boolean {
  return !(error instanceof FinalStageError) && ['rate_limited', 'lost', 'unreachable'].includes(error.code);
}

async function wait(clock: Pick<Clock, 'after'>, ms: number, signal: AbortSignal): Promise<void> {
  const over = Promise.withResolvers<void>();
  const timer = clock.after(ms, over.resolve);
  await orAborted(over.promise, signal).finally(() => timer.stop());
}
