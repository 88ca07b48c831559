import { type AudioEncoding, type AudioFormat, linearSamples, msOfBytes } from '@spillway/core/audio';

/** Louder than the noise of a telephone line, and quieter than anybody who speaks on it: −46 dB. */
const speechLevel = 0.005;
/** So many samples at full scale in one piece are no single click. */
const clippedSamples = 3;

/** How callers sound, in milliseconds. */
export interface SoundTotals {
  /** All that came of them. */
  readonly heardMs: number;
  /** Of that, what was loud enough to be speech. */
  readonly speechMs: number;
  /** Of that, what was louder than its format can say: it is distorted. */
  readonly clippedMs: number;
}

export const noSound: SoundTotals = { heardMs: 0, speechMs: 0, clippedMs: 0 };

/** Both together. */
export function sumOfSound(one: SoundTotals, other: SoundTotals): SoundTotals {
  return {
    heardMs: one.heardMs + other.heardMs,
    speechMs: one.speechMs + other.speechMs,
    clippedMs: one.clippedMs + other.clippedMs,
  };
}

/** How one caller sounds: what makes a recogniser worse, and nobody complains of. */
export class CallerSound {
  readonly #format: AudioFormat;
  #heardMs = 0;
  #speechMs = 0;
  #clippedMs = 0;
  /** The sum of the squares of the levels of speech, by their milliseconds. */
  #energy = 0;

  constructor(format: AudioFormat) {
    this.#format = format;
  }

  get totals(): SoundTotals {
    return { heardMs: this.#heardMs, speechMs: this.#speechMs, clippedMs: this.#clippedMs };
  }

  /** How loud its speech is, in dB of full scale; `undefined`: it has said nothing. */
  get levelDb(): number | undefined {
    return this.#speechMs === 0 ? undefined : 10 * Math.log10(this.#energy / this.#speechMs);
  }

  /** Takes a piece of what the caller says, in order. */
  hear(audio: Uint8Array): void {
    const ms = msOfBytes(this.#format, audio.byteLength);
    this.#heardMs += ms;
    const most = fullScale[this.#format.encoding];
    const samples = linearSamples(this.#format, audio);
    let sum = 0;
    let clipped = 0;
    for (const sample of samples) {
      sum += sample * sample;
      if (Math.abs(sample) >= most) clipped += 1;
    }
    const energy = sum / samples.length / 32_768 ** 2;
    if (!(energy >= speechLevel ** 2)) return;
    this.#speechMs += ms;
    this.#energy += energy * ms;
    if (clipped >= clippedSamples) this.#clippedMs += ms;
  }
}

/** The largest sample that an encoding has. */
const fullScale: Readonly<Record<AudioEncoding, number>> = { mulaw: 32_124, alaw: 32_256, pcm16: 32_767 };
