import { invalid } from '../invalid.ts';
import { type AudioFormat, checkAudioFormat, checkWholeSamples, msOfBytes } from './audio-format.ts';
import { levelOf } from './level.ts';

/** Audio with its place on its speaker's own clock. */
export interface TimedAudio {
  /** Where it begins, in milliseconds since the speaker's audio began. */
  readonly mediaMs: number;
  /** Whole samples. */
  readonly audio: Uint8Array;
}

/** Audio that was lost because a stage was late. */
export interface AudioGap {
  /** Where the loss begins on the speaker's clock. */
  readonly fromMs: number;
  /** Where it ends. `toMs` > `fromMs`. */
  readonly toMs: number;
  /** Whether nobody spoke in it. */
  readonly isSilence: boolean;
}

/** How a queue of speech is bounded. */
export interface SpeechQueueOptions {
  /** The format of the audio. */
  readonly format: AudioFormat;
  /** Audio that may wait: 20 to 60,000 ms. Default: 400. */
  readonly maxMs?: number;
  /** Audio below this level, in parts of full scale, is silence. Default: 0.005. */
  readonly silenceLevel?: number;
  /** Called for each loss, before `push` returns. Losses that touch come one by one. */
  readonly onGap?: (gap: AudioGap) => void;
}

interface Waiting extends TimedAudio {
  readonly ms: number;
  /** Not known before somebody has to ask. */
  isSilence?: boolean;
}

/**
 * What a human says, for a stage that may be late. It is bounded in milliseconds: what waits is ≤ `maxMs` always, so that an
 * answer is never to what was said ten seconds ago. When it is full, silence is lost first, the oldest first, and only then
 * the oldest speech. Each loss is told with its place on the speaker's clock; what is left keeps its own.
 *
 * @example
 * ```ts
 * import { SpeechQueue, telephoneAudio } from '@spillway/core/audio';
 *
 * const onGap = ({ fromMs, toMs }: { fromMs: number; toMs: number }) => console.log(`lost: ${fromMs} to ${toMs} ms`);
 * const queue = new SpeechQueue({ format: telephoneAudio, onGap });
 * for (let mediaMs = 0; mediaMs < 1000; mediaMs += 20) queue.push({ mediaMs, audio: new Uint8Array(160).fill(0xff) });
 * console.log(queue.waitingMs, queue.take()?.mediaMs); // 400 600
 * ```
 */
export class SpeechQueue {
  readonly #format: AudioFormat;
  readonly #maxMs: number;
  readonly #silenceLevel: number;
  readonly #onGap: ((gap: AudioGap) => void) | undefined;
  readonly #waiting: Waiting[] = [];
  #bytes = 0;

  /** @throws {SpillwayError} `invalid_option` */
  constructor({ format, maxMs = 400, onGap, silenceLevel = 0.005 }: SpeechQueueOptions) {
    checkAudioFormat(format);
    if (!(maxMs >= 20 && maxMs <= 60_000))
      throw invalid(`maxMs: expected 20 to 60,000 milliseconds, got ${maxMs}.`);
    if (!(silenceLevel >= 0 && silenceLevel <= 1))
      throw invalid(`silenceLevel: expected 0 to 1, got ${silenceLevel}.`);
    this.#format = format;
    this.#maxMs = maxMs;
    this.#silenceLevel = silenceLevel;
    this.#onGap = onGap;
  }

  /** Audio that waits, in milliseconds: ≤ `maxMs` always. */
  get waitingMs(): number {
    return msOfBytes(this.#format, this.#bytes);
  }

  /**
   * Takes audio, in the order of its media time. The bytes must not be changed afterwards. Never waits: what is too much is
   * lost, and told. A piece that is longer than `maxMs` is lost as a whole.
   *
   * @throws {SpillwayError} `invalid_option` for half a sample.
   */
  push({ audio, mediaMs }: TimedAudio): void {
    checkWholeSamples(this.#format, audio);
    if (audio.byteLength === 0) return;
    this.#waiting.push({ mediaMs, audio, ms: msOfBytes(this.#format, audio.byteLength) });
    this.#bytes += audio.byteLength;
    while (this.waitingMs > this.#maxMs) {
      const quiet = this.#waiting.findIndex((one) => this.#isSilence(one));
      this.#lose(Math.max(0, quiet));
    }
  }

  /** Takes the oldest audio; `undefined`: none waits. */
  take(): TimedAudio | undefined {
    const next = this.#waiting.shift();
    if (next === undefined) return undefined;
    this.#bytes -= next.audio.byteLength;
    return { mediaMs: next.mediaMs, audio: next.audio };
  }

  #isSilence(one: Waiting): boolean {
    one.isSilence ??= levelOf(this.#format, one.audio) < this.#silenceLevel;
    return one.isSilence;
  }

  #lose(index: number): void {
    const [lost] = this.#waiting.splice(index, 1);
    if (lost === undefined) return;
    this.#bytes -= lost.audio.byteLength;
    this.#onGap?.({ fromMs: lost.mediaMs, toMs: lost.mediaMs + lost.ms, isSilence: this.#isSilence(lost) });
  }
}
