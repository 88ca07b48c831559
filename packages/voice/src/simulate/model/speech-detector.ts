import { type AudioFormat, bytesOfMs, levelOf, msOfBytes } from '@spillway/core/audio';

/** Audio is looked at in pieces of this length. */
const stepMs = 20;
/** Speech is louder than its threshold for so many pieces: a click is none. */
const minLoudSteps = 3;
/** The level of speech, in parts of full scale, at a threshold of 1. Speech on a telephone has 0.05 to 0.2. */
const fullLevel = 0.06;

/** How speech is detected. */
export interface SpeechDetectorOptions {
  readonly format: AudioFormat;
  /** 0 to 1: how loud speech has to be. */
  readonly threshold: number;
  /** So much audio before the speech belongs to it. */
  readonly prefixMs: number;
  /** Speech is over after so much silence. */
  readonly silenceMs: number;
}

/** Speech began or stopped, on the audio's own time. */
export interface SpeechChange {
  readonly kind: 'started' | 'stopped';
  readonly atMs: number;
}

/**
 * Detects speech by its level, on the audio's own time: however late it comes, the same audio gives the same result. Speech
 * begins at the threshold, and is over below half of it.
 */
export class SpeechDetector {
  readonly #options: SpeechDetectorOptions;
  readonly #stepBytes: number;
  #rest: Uint8Array = new Uint8Array(0);
  /** Of the audio that was looked at, from the session's beginning. */
  #atMs: number;
  #loudSteps = 0;
  #quietMs = 0;
  #isSpeech = false;

  /** `fromMs`: the audio that has come before. */
  constructor(options: SpeechDetectorOptions, fromMs: number) {
    this.#options = options;
    this.#stepBytes = bytesOfMs(options.format, stepMs);
    this.#atMs = fromMs;
  }

  /** Looks at audio. What makes no whole piece waits for more. */
  push(audio: Uint8Array): SpeechChange[] {
    const all = Buffer.concat([this.#rest, audio]);
    const changes: SpeechChange[] = [];
    let at = 0;
    for (; at + this.#stepBytes <= all.byteLength; at += this.#stepBytes) {
      const change = this.#look(all.subarray(at, at + this.#stepBytes));
      if (change !== undefined) changes.push(change);
    }
    this.#rest = all.subarray(at);
    return changes;
  }

  #look(step: Uint8Array): SpeechChange | undefined {
    const { format, prefixMs, silenceMs, threshold } = this.#options;
    const level = levelOf(format, step);
    const onLevel = threshold * fullLevel;
    this.#atMs += msOfBytes(format, step.byteLength);
    this.#loudSteps = level >= onLevel ? this.#loudSteps + 1 : 0;
    this.#quietMs = level < onLevel / 2 ? this.#quietMs + stepMs : 0;
    if (!this.#isSpeech && this.#loudSteps >= minLoudSteps) {
      this.#isSpeech = true;
      return { kind: 'started', atMs: Math.max(0, this.#atMs - minLoudSteps * stepMs - prefixMs) };
    }
    if (this.#isSpeech && this.#quietMs >= Math.max(stepMs, silenceMs)) {
      this.#isSpeech = false;
      return { kind: 'stopped', atMs: this.#atMs };
    }
    return undefined;
  }
}
