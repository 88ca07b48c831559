import { type AudioFormat, msOfBytes, Resampler, type SpokenPart } from '@spillway/core/audio';
import type { Clock } from '@spillway/core/clock';
import { orAborted } from '@spillway/core/or-aborted';
import { partOf } from '../call/heard-text.ts';
import type { ModelEvent } from '../model/model-leg.ts';
import { Awaited } from './awaited.ts';
import type { Memory, Sentence } from './memory.ts';
import { isSpoken } from './speak/speech.ts';
import type { SpeakableText } from './speakable/speakable.ts';
import { wordsOfText } from './speakable/words-of-text.ts';
import type { Speaker } from './speaker.ts';
import { StageError } from './stage-error.ts';
import { isFinal } from './stage-request.ts';
import type { StageGauge } from './stage-gauge.ts';

/** How long a speaker that made nothing of a sentence is left alone before it is asked once more, where it does not say. */
const retryAfterMs = 250;
const maxRetryAfterMs = 5000;
/** Failures of a speaker after which the same may work. */
const passing = new Set<string>(['late', 'lost', 'rate_limited', 'unreachable']);

/** How fast a speaker speaks. It is learned from whole sentences. */
export interface Pace {
  msPerCharacter: number;
}

/** How sentences are spoken, and who is told. */
export interface SentenceVoiceOptions {
  /** Of the answer. */
  readonly id: string;
  readonly speaker: Speaker;
  readonly format: AudioFormat;
  readonly speakTimeoutMs: number;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly memory: Memory;
  readonly gauge: StageGauge;
  readonly pace: Pace;
  /** Makes the texts of an answer ready to be spoken. */
  readonly speakable: SpeakableText;
  readonly signal: AbortSignal;
  readonly onEvent: (event: ModelEvent) => void;
}

/** Speaks the sentences of an answer, one after the other. Each is a part of its own, so that it is known how much of each was heard. */
export class SentenceVoice {
  readonly #options: SentenceVoiceOptions;
  #count = 0;
  #unmadeMs = 0;
  #hasSpoken = false;

  constructor(options: SentenceVoiceOptions) {
    this.#options = options;
  }

  /** Whether any of it was spoken. */
  get hasSpoken(): boolean {
    return this.#hasSpoken;
  }

  /** Of the sentence that is being spoken, what is not made yet, in milliseconds: an estimate. */
  get unmadeMs(): number {
    return this.#unmadeMs;
  }

  /**
   * Speaks a sentence. If nothing was made of it, the speaker is asked once more.
   *
   * @throws {StageError} when it failed, and the signal's reason when it was aborted. What was made is told by then.
   */
  async speak(text: string): Promise<void> {
    const spoken = this.#options.speakable.push(text);
    // A block of code, or a mark alone.
    if (spoken === '') return;
    this.#count += 1;
    try {
      await this.#try(text, spoken);
    } catch (error) {
      const mayWork = error instanceof StageError && passing.has(error.code) && !isFinal(error);
      if (!mayWork || this.#made !== undefined) throw error;
      await this.#pause(Math.min(error.retryAfterMs ?? retryAfterMs, maxRetryAfterMs));
      await this.#try(text, spoken);
    }
    this.#unmadeMs = 0;
  }

  /** What has been made of the present sentence; `undefined`: nothing. */
  #made: Sentence | undefined;

  async #try(text: string, spoken: string): Promise<void> {
    const { clock, gauge, onEvent, pace, signal } = this.#options;
    this.#made = undefined;
    this.#unmadeMs = spoken.length * pace.msPerCharacter;
    gauge.characters += spoken.length;
    const beganMs = clock.nowMs();
    try {
      await this.#make(text, spoken, beganMs);
    } catch (error) {
      if (signal.aborted) throw error;
      gauge.errors += 1;
      const code = error instanceof StageError ? error.code : 'defect';
      onEvent({ kind: 'stageFailed', stage: 'speak', code });
      throw error;
    } finally {
      gauge.busyMs += clock.nowMs() - beganMs;
      if (this.#made !== undefined) this.#tell(this.#made);
    }
  }

  async #make(text: string, spoken: string, beganMs: number): Promise<void> {
    const { clock, format, pace, signal, speaker, speakTimeoutMs } = this.#options;
    const sentence: Sentence = { itemId: this.#part.itemId, text, madeMs: 0, words: [] };
    const resampler = new Resampler(speaker.output, format);
    // A speaker that is late has to stop, too, before it is asked again.
    const attempt = new AbortController();
    const events = new Awaited(
      speaker.speak(spoken, { signal: AbortSignal.any([signal, attempt.signal]) }),
      clock,
    );
    let isWhole = false;
    try {
      for (;;) {
        const event = await orAborted(events.next(speakTimeoutMs), signal);
        if (event === undefined) break;
        if (event === 'late')
          throw new StageError('late', `The speaker made nothing for ${speakTimeoutMs} ms.`);
        if (event.kind === 'audio') this.#take(sentence, resampler.push(event.audio), beganMs);
        else sentence.words.push(...wordsOfText(text, spoken, event.words));
      }
      this.#take(sentence, resampler.end(), beganMs);
      if (sentence.madeMs === 0 && isSpoken(spoken))
        throw new StageError('bad_message', 'The speaker made no speech of a text.');
      isWhole = true;
    } finally {
      attempt.abort();
      events.close();
      const usualMs = spoken.length * pace.msPerCharacter;
      // One part in four: a sentence of numbers is no reason to believe that all are slow.
      if (isWhole && sentence.madeMs > 0)
        pace.msPerCharacter += (sentence.madeMs / spoken.length - pace.msPerCharacter) / 4;
      // What was made of it holds as much of its text as the speaker usually says in that time.
      if (!isWhole && sentence.words.length === 0) sentence.text = partOf(text, sentence.madeMs / usualMs);
    }
  }

  #take(sentence: Sentence, audio: Uint8Array, beganMs: number): void {
    if (audio.byteLength === 0) return;
    const { clock, format, gauge, id, memory, onEvent } = this.#options;
    if (this.#made === undefined) {
      this.#made = sentence;
      this.#hasSpoken = true;
      memory.says(id, sentence);
      gauge.waitedMs = clock.nowMs() - beganMs;
      onEvent({ kind: 'stageResult', stage: 'speak', waitedMs: gauge.waitedMs });
    }
    const ms = msOfBytes(format, audio.byteLength);
    sentence.madeMs += ms;
    gauge.doneMs += ms;
    this.#unmadeMs = Math.max(0, this.#unmadeMs - ms);
    onEvent({ kind: 'audio', responseId: id, part: this.#part, audio });
  }

  /** Tells the words of what was made, and that no more comes of it. */
  #tell({ text, words }: Sentence): void {
    const place = { responseId: this.#options.id, part: this.#part };
    this.#options.onEvent({ kind: 'said', ...place, text, isWhole: true, words });
    this.#options.onEvent({ kind: 'audioEnded', ...place });
  }

  get #part(): SpokenPart {
    return { itemId: `${this.#options.id}-${this.#count}`, contentIndex: 0 };
  }

  async #pause(ms: number): Promise<void> {
    const over = Promise.withResolvers<void>();
    const timer = this.#options.clock.after(ms, over.resolve);
    await orAborted(over.promise, this.#options.signal).finally(() => timer.stop());
  }
}
