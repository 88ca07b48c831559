import {
  type AudioFormat,
  type AudioGap,
  bytesOfMs,
  msOfBytes,
  Resampler,
  SpeechDetector,
  SpeechQueue,
} from '@spillway/core/audio';
import type { Clock, Timer } from '@spillway/core/clock';
import { takesMore } from '../call/mouth.ts';
import type { Recogniser } from './recogniser.ts';
import type { StageGauge } from './stage-gauge.ts';

/** Audio is looked at in pieces of this length. */
const sliceMs = 20;
/** So much audio before speech is heard to begin belongs to it: soft beginnings of words, and what the detector takes to be sure. */
const prefixMs = 300;
/** What the detector takes to be sure, at most. */
const detectMs = 100;

/** Audio that waits for a recogniser which takes none. Beyond it silence is lost, and then the oldest. */
const maxWaitingMs = 400;

/** The words of an utterance. */
export interface UtteranceWords {
  /** Empty: there were none, or none were found. */
  readonly text: string;
  readonly isLost: boolean;
  /** How long the utterance is, and how long its words took. */
  readonly ms: number;
  readonly waitedMs: number;
}

/** How utterances are found, and who is told. */
export interface UtterancesOptions {
  readonly recogniser: Recogniser;
  readonly format: AudioFormat;
  readonly gauge: StageGauge;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  /** Silence that ends an utterance. */
  readonly silenceMs: number;
  /** A longer one is given to the recogniser in pieces. */
  readonly maxUtteranceMs: number;
  /** How long the words of an utterance may take. */
  readonly timeoutMs: number;
  /** The human speaks, or has stopped. `atMs`: of the audio that came. */
  readonly onStarted: (atMs: number) => void;
  readonly onStopped: (atMs: number) => void;
  readonly onWords: (words: UtteranceWords) => void;
  /** Audio was lost, because the recogniser was late. */
  readonly onGap: (gap: AudioGap) => void;
  /** No words came in time. */
  readonly onLate: (timeoutMs: number) => void;
}

/** What the human says, found in what is heard: each utterance goes to the recogniser, and its words come back in order. */
export class Utterances {
  readonly #options: UtterancesOptions;
  readonly #detector: SpeechDetector;
  readonly #resampler: Resampler;
  /** The newest audio in front of an utterance: ≤ `prefixMs` + `detectMs` always. */
  #recent: Uint8Array[] = [];
  readonly #maxRecent: number;
  /** Less than a slice, which waits for more. */
  #rest: Uint8Array = new Uint8Array(0);
  #bytes = 0;
  #isOpen = false;
  #openBytes = 0;
  /** What the recogniser has not been given: ≤ `maxWaitingMs` always. */
  readonly #queue: SpeechQueue;
  /** Where utterances end whose end it has not been told, on the time of the audio that came. */
  readonly #ends: number[] = [];
  /** Those that are finished and have no words yet, the oldest first: when that was, and how long they are. */
  readonly #due: { readonly finishedMs: number; readonly ms: number }[] = [];
  #timer: Timer | undefined;

  constructor(options: UtterancesOptions) {
    const { format, recogniser, silenceMs } = options;
    this.#options = options;
    this.#detector = new SpeechDetector({ format, prefixMs, silenceMs });
    this.#resampler = new Resampler(format, recogniser.input);
    this.#queue = new SpeechQueue({
      format,
      maxMs: maxWaitingMs,
      onGap: (gap) => {
        options.gauge.droppedMs += gap.toMs - gap.fromMs;
        options.onGap(gap);
      },
    });
    this.#maxRecent = Math.ceil((prefixMs + detectMs) / sliceMs);
  }

  /** Whether the human speaks. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Whether words of what the human said are still to come. */
  get isAwaited(): boolean {
    return this.#due.length > 0;
  }

  /** Speech that was given to the recogniser and has no words yet, in milliseconds. */
  get depthMs(): number {
    const openMs = Math.min(this.#openMs, this.#options.recogniser.unconfirmedMs + this.#queue.waitingMs);
    return this.#due.reduce((sum, { ms }) => sum + ms, openMs);
  }

  /** Takes what is heard. */
  hear(audio: Uint8Array): void {
    const sliceBytes = bytesOfMs(this.#options.format, sliceMs);
    const all = this.#rest.byteLength === 0 ? audio : Buffer.concat([this.#rest, audio]);
    let at = 0;
    for (; at + sliceBytes <= all.byteLength; at += sliceBytes) this.#look(all.subarray(at, at + sliceBytes));
    this.#rest = all.slice(at);
  }

  /** Gives the recogniser what it takes. */
  drain(): void {
    const { recogniser } = this.#options;
    while (takesMore(recogniser)) {
      const next = this.#queue.take();
      if (next === undefined) break;
      this.#tellEnds(next.mediaMs);
      const audio = this.#resampler.push(next.audio);
      if (audio.byteLength > 0) recogniser.send(audio);
    }
    if (this.#queue.waitingMs === 0) this.#tellEnds(Infinity);
  }

  /** The recogniser has the words of the oldest utterance. `hasFailed`: where there are none, they are lost. */
  words(found: string, hasFailed: boolean): void {
    const done = this.#due.shift();
    if (done === undefined) return;
    const { clock, gauge, onWords } = this.#options;
    const waitedMs = clock.nowMs() - done.finishedMs;
    const text = found.trim();
    const isLost = hasFailed && text === '';
    if (isLost) gauge.droppedMs += done.ms;
    else {
      gauge.waitedMs = waitedMs;
      gauge.busyMs += waitedMs;
      gauge.doneMs += done.ms;
    }
    this.#watch();
    onWords({ text, isLost, ms: done.ms, waitedMs });
  }

  /** No timer is left. */
  close(): void {
    this.#timer?.stop();
    this.#due.length = 0;
    this.#ends.length = 0;
  }

  /** The audio that came, in milliseconds. */
  get #heardMs(): number {
    return msOfBytes(this.#options.format, this.#bytes);
  }

  get #openMs(): number {
    return msOfBytes(this.#options.format, this.#openBytes);
  }

  #look(slice: Uint8Array): void {
    const { maxUtteranceMs, onStarted, onStopped } = this.#options;
    const fromMs = this.#heardMs;
    this.#bytes += slice.byteLength;
    const [change] = this.#detector.push(slice);
    if (this.#isOpen) this.#send(slice, fromMs);
    else {
      this.#recent.push(slice);
      if (this.#recent.length > this.#maxRecent) this.#recent.shift();
    }
    if (change?.kind === 'started') {
      const slices = Math.ceil((this.#heardMs - change.atMs) / sliceMs);
      const recent = this.#recent.splice(0).slice(-slices);
      this.#isOpen = true;
      for (const [at, one] of recent.entries()) this.#send(one, fromMs - (recent.length - 1 - at) * sliceMs);
      onStarted(change.atMs);
    } else if (change?.kind === 'stopped') {
      this.#finish();
      this.#isOpen = false;
      onStopped(change.atMs);
    } else if (this.#isOpen && this.#openMs >= maxUtteranceMs) this.#finish();
  }

  #send(slice: Uint8Array, mediaMs: number): void {
    this.#openBytes += slice.byteLength;
    this.#queue.push({ mediaMs, audio: slice });
    this.drain();
  }

  #finish(): void {
    this.#due.push({ finishedMs: this.#options.clock.nowMs(), ms: this.#openMs });
    this.#openBytes = 0;
    this.#ends.push(this.#heardMs);
    this.drain();
    this.#watch();
  }

  /** Tells the recogniser of utterances that end at this time or before. */
  #tellEnds(mediaMs: number): void {
    const { recogniser } = this.#options;
    for (let [end] = this.#ends; end !== undefined && end <= mediaMs; [end] = this.#ends) {
      this.#ends.shift();
      const audio = this.#resampler.end();
      if (audio.byteLength > 0) recogniser.send(audio);
      recogniser.finish();
    }
  }

  /** Watches the oldest that has no words. */
  #watch(): void {
    const { clock, onLate, timeoutMs } = this.#options;
    this.#timer?.stop();
    const [oldest] = this.#due;
    if (oldest === undefined) return;
    this.#timer = clock.after(Math.max(0, oldest.finishedMs + timeoutMs - clock.nowMs()), () =>
      onLate(timeoutMs),
    );
  }
}
