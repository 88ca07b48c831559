import { type AudioFormat, bytesOfMs } from '@spillway/core/audio';
import { type Clock, systemClock } from '@spillway/core/clock';
import type { Recogniser, RecogniserEvent } from '../recogniser.ts';
import { StageError } from '../stage-error.ts';
import { FinalStageError } from '../stage-request.ts';
import {
  type OpenAiTranscriptionOptions,
  type TranscriptionSettings,
  transcriptionSettings,
} from './transcription-options.ts';
import { requestTranscript } from './transcription-request.ts';
import { nothingHeard, type Utterance, UtteranceLedger } from './utterance-ledger.ts';
import { wavForm } from './wav-form.ts';

/** The utterances that may be under way or wait. An answer to an older one would be stale. */
const maxUtterances = 2;
/** So many utterances in a row without an answer end it: the other side does not work. */
const maxFailures = 3;

/** An utterance whose audio is here. */
interface Kept {
  readonly utterance: Utterance;
  readonly pieces: Uint8Array[];
  bytes: number;
  isCut: boolean;
}

class OpenAiTranscription implements Recogniser {
  readonly api = 'openai-transcription';
  readonly input: AudioFormat;
  /** Utterances are sent whole: none of them is on its way in part. */
  readonly bufferedMs = 0;
  readonly unconfirmedMs = 0;
  readonly #options: OpenAiTranscriptionOptions;
  readonly #settings: TranscriptionSettings;
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #maxBytes: number;
  readonly #ledger: UtteranceLedger;
  readonly #over = new AbortController();
  #open: Kept | undefined;
  /** Those that were not sent. With the one under way they are ≤ `maxUtterances` always. */
  readonly #waiting: Kept[] = [];
  #isBusy = false;
  #failures = 0;

  constructor(options: OpenAiTranscriptionOptions) {
    this.#settings = transcriptionSettings(options);
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.input = this.#settings.format;
    this.#maxBytes = bytesOfMs(this.input, options.maxUtteranceMs ?? 60_000);
    this.#ledger = new UtteranceLedger(this.input, (code, message) => this.#end(code, message));
    this.#ledger.ready();
  }

  listen(listener: (event: RecogniserEvent) => void): void {
    this.#ledger.listen(listener);
  }

  send(audio: Uint8Array): void {
    const utterance = this.#ledger.take(audio);
    if (utterance === undefined) return;
    this.#open ??= { utterance, pieces: [], bytes: 0, isCut: false };
    const kept = this.#open;
    const room = this.#maxBytes - kept.bytes;
    if (room < audio.byteLength) kept.isCut = true;
    // A copy, because it waits, and who sent it may use its memory again.
    const piece = audio.slice(0, room);
    kept.bytes += piece.byteLength;
    if (piece.byteLength > 0) kept.pieces.push(piece);
  }

  finish(): void {
    const kept = this.#open;
    this.#open = undefined;
    if (this.#ledger.finish() === undefined || kept === undefined) return;
    this.#waiting.push(kept);
    const room = this.#isBusy ? maxUtterances - 1 : maxUtterances;
    if (this.#waiting.length > room) this.#drop(this.#waiting.shift());
    if (!this.#isBusy) void this.#work();
  }

  close(): void {
    this.#ledger.close();
    this.#release();
  }

  /** Asks for one utterance after the other: answers come in order, and an API that is slow gets no more than one at a time. */
  async #work(): Promise<void> {
    this.#isBusy = true;
    for (let kept = this.#waiting.shift(); kept !== undefined; kept = this.#waiting.shift())
      await this.#understand(kept);
    this.#isBusy = false;
  }

  async #understand({ isCut, pieces, utterance }: Kept): Promise<void> {
    const { onUsed, timeoutMs = 10_000 } = this.#options;
    const warning = { code: 'utterance_cut', message: 'The utterance is longer than it may be.' };
    try {
      const { text, usage } = await requestTranscript({
        settings: this.#settings,
        form: wavForm(this.#settings.fields, this.input.sampleRateHz, pieces),
        timeoutMs,
        clock: this.#clock,
        signal: this.#over.signal,
        onText: (partial) => this.#ledger.partial(utterance, partial),
      });
      this.#failures = 0;
      if (usage !== undefined) onUsed?.(usage);
      this.#ledger.settle(utterance, { text, words: [], ...(isCut ? { warning } : {}) });
    } catch (error) {
      if (!this.#over.signal.aborted) this.#failed(utterance, error);
    }
  }

  #failed(utterance: Utterance, error: unknown): void {
    const { code, message } =
      error instanceof StageError ? error : new StageError('bad_message', 'It was not understood.');
    this.#failures += 1;
    if (error instanceof FinalStageError || this.#failures >= maxFailures) this.#end(code, message);
    else this.#ledger.settle(utterance, { ...nothingHeard, warning: { code, message } });
  }

  #drop(kept: Kept | undefined): void {
    if (kept === undefined) return;
    const message = `More than ${maxUtterances} utterances wait for their words: the oldest that was not sent is lost.`;
    this.#ledger.settle(kept.utterance, { ...nothingHeard, warning: { code: 'utterance_dropped', message } });
  }

  #end(code: string, message: string): void {
    this.#release();
    this.#ledger.end(code, message);
  }

  #release(): void {
    this.#open = undefined;
    this.#waiting.length = 0;
    this.#over.abort();
  }
}

/**
 * Understands utterances by OpenAI's API for transcriptions, or by one that speaks as it does: each is sent whole, as a WAV file,
 * when it is over. It is `ready` at once; the first request shows whether there is an API. Words have no times.
 *
 * - At most 2 utterances are under way or wait. One more drops the oldest that was not sent: `warned` with `utterance_dropped`, and an
 *   empty final, so that nobody answers what was said long ago.
 * - A request that fails in a way that may pass (429, 5xx, a connection that fails) is sent once more, after `Retry-After` or 250 ms,
 *   if `timeoutMs` leaves time for that. An utterance without an answer has a `warned` with the code of a `StageError`, and an
 *   empty final. Three in a row are the end.
 * - Audio beyond `maxUtteranceMs` is left out, with a `warned` of `utterance_cut`.
 *
 * `ended` has the code of the failure: `unauthorized` (401, 403), `refused` (404) and `rate_limited` (no money left) at once;
 * others after three: `late`, `lost`, `rate_limited`, `refused`, `unreachable`, `bad_message` (no text, events that are
 * not the API's, more than 1 MiB). No message has the key, or anything that the API said but its code.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const recogniser = openOpenAiTranscription({ apiKey, language: 'en' });
 * recogniser.listen((event) => {
 *   if (event.kind === 'final') console.log(event.text.length);
 * });
 * ```
 */
export function openOpenAiTranscription(options: OpenAiTranscriptionOptions = {}): Recogniser {
  return new OpenAiTranscription(options);
}
