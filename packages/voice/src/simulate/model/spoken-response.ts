import { type AudioFormat, bytesOfMs, msOfBytes, Resampler, telephoneAudio } from '@spillway/core/audio';
import type { Clock, Timer } from '@spillway/core/clock';
import type { Speech } from '../speech.ts';
import { wordsUpTo } from './conversation.ts';

/** How a response is spoken. */
export interface SpokenResponseOptions {
  readonly speech: Speech;
  readonly format: AudioFormat;
  readonly speed: number;
  readonly deltaMs: number;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  /** After so many milliseconds of audio nothing more comes. */
  readonly stallAtMs: number | undefined;
  /** Whether the connection takes more: nothing is made while it does not. */
  readonly mayMake: () => boolean;
  /** Some audio, and the words that lie in it. */
  readonly onDelta: (audio: Uint8Array, text: string) => void;
  /** All was made. */
  readonly onEnd: () => void;
}

/** Makes the audio of a response, faster than real time, by a clock that does not drift. */
export class SpokenResponse {
  readonly #options: SpokenResponseOptions;
  readonly #audio: Uint8Array;
  readonly #beganMs: number;
  #timer: Timer | undefined;
  #madeBytes = 0;
  /** The words that came so far. */
  text = '';

  constructor(options: SpokenResponseOptions) {
    this.#options = options;
    this.#audio = audioIn(options.format, options.speech.audio);
    this.#beganMs = options.clock.nowMs();
  }

  /** What was made, in milliseconds of audio. */
  get madeMs(): number {
    return msOfBytes(this.#options.format, this.#madeBytes);
  }

  /** Makes the next piece, and sees to the ones after it. */
  make(): void {
    const { deltaMs, format, mayMake, onDelta, onEnd, speech, stallAtMs } = this.#options;
    if (stallAtMs !== undefined && this.madeMs >= stallAtMs) return;
    if (!mayMake()) {
      this.#makeAfter(deltaMs);
      return;
    }
    const end = Math.min(this.#audio.byteLength, this.#madeBytes + bytesOfMs(format, deltaMs));
    const audio = this.#audio.subarray(this.#madeBytes, end);
    this.#madeBytes = end;
    const text = wordsUpTo(speech.text, end / this.#audio.byteLength);
    const added = text.slice(this.text.length);
    this.text = text;
    onDelta(audio, added);
    if (end === this.#audio.byteLength) onEnd();
    else this.#makeAfter(this.#beganMs + this.madeMs / this.#options.speed - this.#options.clock.nowMs());
  }

  /** Makes no more. */
  stop(): void {
    this.#timer?.stop();
  }

  #makeAfter(ms: number): void {
    this.#timer = this.#options.clock.after(Math.max(0, ms), () => this.make());
  }
}

/** Telephone audio in another format. */
function audioIn(format: AudioFormat, mulaw: Uint8Array): Uint8Array {
  if (format.encoding === 'mulaw') return mulaw;
  const resampler = new Resampler(telephoneAudio, format);
  return Buffer.concat([resampler.push(mulaw), resampler.end()]);
}
