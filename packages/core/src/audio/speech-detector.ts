import { invalid } from '../invalid.ts';
import { type AudioFormat, bytesOfMs, checkAudioFormat, msOfBytes } from './audio-format.ts';
import { levelOf, linearSamples } from './level.ts';

/** Audio is looked at in pieces of this length. */
const stepMs = 20;
/** Speech is louder than its threshold for so many pieces: a click is none. */
const minLoudSteps = 3;
/** The level of speech, in parts of full scale, at a threshold of 1. Speech on a telephone has 0.05 to 0.2. */
const fullLevel = 0.06;

/** So many times louder than the noise is speech: 6 dB. */
const overNoise = 2;
const rumbleHz = 200;
/** Below this, in parts of full scale, nothing is speech: −40 dB. */
const minLevel = 0.01;
/** Whatever the noise: this loud, −18 dB, is speech. */
const maxLevel = 0.125;
/** The noise is the least level of as many spans as these: 2 s, because nobody speaks that long without a gap between two sounds. */
const spans = 8;
const stepsPerSpan = 13;

/** How speech is detected. */
export interface SpeechDetectorOptions {
  /** The format of the audio. */
  readonly format: AudioFormat;
  /**
   * How loud speech has to be: 0 to 1, a share of 0.06 of full scale, for lines that are known; or `adaptive`, louder than the noise
   * that there is. Default: `adaptive`.
   */
  readonly threshold?: number | 'adaptive';
  /** So much audio before the speech belongs to it: 0 to 60,000 ms. Default: 200. */
  readonly prefixMs?: number;
  /** Speech is over after so much silence: 0 to 60,000 ms. Default: 500. */
  readonly silenceMs?: number;
}

/** Speech began or stopped, on the audio's own time. */
export interface SpeechChange {
  /** What has happened. */
  readonly kind: 'started' | 'stopped';
  /** Milliseconds since the audio began. Of a start: with `prefixMs` in front, and never before the audio. */
  readonly atMs: number;
}

/**
 * Detects speech by its level, on the audio's own time: however late it comes and however it is cut, the same audio gives the same
 * result. It holds less than 20 ms of audio.
 *
 * With an adaptive threshold the noise is the least level of the last 2 s ("minimum statistics": R. Martin, Noise Power Spectral
 * Density Estimation Based on Optimal Smoothing and Minimum Statistics, 2001; here of the whole band above 200 Hz). Speech begins
 * 6 dB above the noise, and is over at 3 dB; below −40 dB of full scale nothing is speech, and above −18 dB all is. So a hum, a fan
 * and the noise of a line are no speech. Noise that gets louder at once is, for the 2 s until it is known, and so is what changes as
 * speech does: music, a cough, others in the room.
 *
 * All ten clips of synthetic speech, with peaks at −3 dB, are found in white and pink noise of −30 dB and in a hum of −25 dB
 * without a false start, each at most 100 ms late: `prefixMs` covers that. 12 dB quieter they are found at −40 dB, and 4
 * of them at −30 dB in white noise.
 *
 * @example
 * ```ts
 * import { SpeechDetector, telephoneAudio } from '@spillway/core/audio';
 *
 * const detector = new SpeechDetector({ format: telephoneAudio, silenceMs: 600 });
 * for (const { atMs, kind } of detector.push(new Uint8Array(160).fill(0xff))) console.log(kind, atMs);
 * ```
 */
export class SpeechDetector {
  readonly #format: AudioFormat;
  readonly #threshold: number | 'adaptive';
  readonly #prefixMs: number;
  readonly #silenceMs: number;
  readonly #stepBytes: number;
  readonly #noise = new NoiseFloor();
  readonly #rumble: RumbleFilter | undefined;
  #rest: Uint8Array = new Uint8Array(0);
  /** Of the audio that was looked at, from its beginning, in bytes. */
  #bytes = 0;
  readonly #fromMs: number;
  #loudSteps = 0;
  #quietMs = 0;
  #isSpeech = false;

  /**
   * `fromMs`: the audio that has come before. Default: 0.
   *
   * @throws {SpillwayError} `invalid_option`
   */
  constructor(options: SpeechDetectorOptions, fromMs = 0) {
    const { format, prefixMs = 200, silenceMs = 500, threshold = 'adaptive' } = options;
    checkAudioFormat(format);
    if (threshold !== 'adaptive') expectWithin('threshold', threshold, 1);
    expectWithin('prefixMs', prefixMs, 60_000);
    expectWithin('silenceMs', silenceMs, 60_000);
    this.#format = format;
    this.#threshold = threshold;
    this.#rumble = threshold === 'adaptive' ? new RumbleFilter(format) : undefined;
    this.#prefixMs = prefixMs;
    this.#silenceMs = silenceMs;
    this.#stepBytes = bytesOfMs(format, stepMs);
    this.#fromMs = fromMs;
  }

  /** Whether somebody speaks where the audio has come to. */
  get isSpeech(): boolean {
    return this.#isSpeech;
  }

  /** Looks at audio. What makes no whole piece of 20 ms waits for more. */
  push(audio: Uint8Array): SpeechChange[] {
    const all = new Uint8Array(this.#rest.byteLength + audio.byteLength);
    all.set(this.#rest);
    all.set(audio, this.#rest.byteLength);
    const changes: SpeechChange[] = [];
    let at = 0;
    for (; at + this.#stepBytes <= all.byteLength; at += this.#stepBytes) {
      const change = this.#look(all.subarray(at, at + this.#stepBytes));
      if (change !== undefined) changes.push(change);
    }
    this.#rest = all.slice(at);
    return changes;
  }

  #look(step: Uint8Array): SpeechChange | undefined {
    const level = this.#rumble?.levelOf(step) ?? levelOf(this.#format, step);
    const { off, on, stays } = this.#levels(level);
    this.#bytes += step.byteLength;
    const atMs = this.#fromMs + msOfBytes(this.#format, this.#bytes);
    this.#loudSteps = level >= on ? this.#loudSteps + 1 : 0;
    if (level >= stays) this.#quietMs = 0;
    else if (level < off) this.#quietMs += stepMs;
    if (!this.#isSpeech && this.#loudSteps >= minLoudSteps) {
      this.#isSpeech = true;
      return { kind: 'started', atMs: Math.max(0, atMs - minLoudSteps * stepMs - this.#prefixMs) };
    }
    if (this.#isSpeech && this.#quietMs >= Math.max(stepMs, this.#silenceMs)) {
      this.#isSpeech = false;
      return { kind: 'stopped', atMs };
    }
    return undefined;
  }

  /** Speech begins at `on`, goes on at `stays`, and what is below `off` is silence. */
  #levels(level: number): { readonly on: number; readonly stays: number; readonly off: number } {
    if (this.#threshold !== 'adaptive') {
      const on = this.#threshold * fullLevel;
      return { on, stays: on / 2, off: on / 2 };
    }
    const noise = this.#noise.next(level);
    const on = Math.min(maxLevel, Math.max(minLevel, noise * overNoise));
    // Noise is now and then between the two: that neither is silence nor keeps speech going.
    return { on, stays: on, off: Math.max(on / 2, Math.min(on, Math.sqrt(noise * on))) };
  }
}

/** Takes away what is below a voice: the hum of mains, wind, a line's own voltage. Twice 6 dB an octave below 200 Hz. */
class RumbleFilter {
  readonly #format: AudioFormat;
  readonly #keep: number;
  #in = 0;
  #middle = 0;
  #out = 0;

  constructor(format: AudioFormat) {
    this.#format = format;
    this.#keep = 1 / (1 + (2 * Math.PI * rumbleHz) / format.sampleRateHz);
  }

  /** The level of what is left. */
  levelOf(audio: Uint8Array): number {
    const samples = linearSamples(this.#format, audio);
    let sum = 0;
    for (const sample of samples) {
      const middle = this.#keep * (this.#middle + sample - this.#in);
      this.#out = this.#keep * (this.#out + middle - this.#middle);
      this.#in = sample;
      this.#middle = middle;
      sum += this.#out * this.#out;
    }
    return samples.length === 0 ? 0 : Math.sqrt(sum / samples.length) / 32_768;
  }
}

/** The least level of the last 2 s. */
class NoiseFloor {
  readonly #spans = new Float64Array(spans).fill(Infinity);
  #steps = 0;

  /** Takes the level of a piece, and returns the noise. */
  next(level: number): number {
    const span = Math.floor(this.#steps / stepsPerSpan) % spans;
    if (this.#steps % stepsPerSpan === 0) this.#spans[span] = level;
    else this.#spans[span] = Math.min(this.#spans[span] ?? level, level);
    this.#steps = (this.#steps + 1) % (spans * stepsPerSpan);
    return Math.min(...this.#spans);
  }
}

function expectWithin(name: string, value: number, most: number): void {
  if (!(value >= 0 && value <= most)) throw invalid(`${name}: expected 0 to ${most}, got ${value}.`);
}
