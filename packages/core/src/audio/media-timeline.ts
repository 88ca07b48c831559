import { type AudioFormat, bytesOfMs, checkAudioFormat, msOfBytes, silence } from './audio-format.ts';
import type { TimedAudio } from './speech-queue.ts';

/** A jump of the time stamps that is shorter than this is not a gap: they are rounded, and senders' clocks are uneven. */
const toleranceMs = 15;

/** What a timeline made of one piece of audio. */
export interface PlacedAudio {
  /** Silence first, if the time stamp says that some audio is missing; then the audio itself. Empty: it came too late. */
  readonly audio: readonly TimedAudio[];
  /** How much was missing before it, in milliseconds. */
  readonly missingMs: number;
  /** Whether it lies before what came last, and was left out: it came twice, or in the wrong order. */
  readonly isLate: boolean;
}

/**
 * Puts what a carrier sends on the speaker's clock. On such a connection a lost packet is not a missing message: only the
 * time stamps jump. What is missing becomes silence of the same length, so that all that follows keeps its place, and
 * whoever waits for a pause hears one.
 */
export class MediaTimeline {
  readonly #format: AudioFormat;
  readonly #maxSilenceMs: number;
  /** Where the next audio is expected. `undefined`: none has come. */
  #nextMs: number | undefined;

  /**
   * @param format of the audio.
   * @param maxSilenceMs the longest silence that is made, in milliseconds. A longer gap is not filled beyond it.
   * @throws {SpillwayError} `invalid_option`
   */
  constructor(format: AudioFormat, maxSilenceMs = 10_000) {
    checkAudioFormat(format);
    this.#format = format;
    this.#maxSilenceMs = maxSilenceMs;
  }

  /** Places audio whose time stamp is `timestampMs`. */
  place(timestampMs: number, audio: Uint8Array): PlacedAudio {
    const ms = msOfBytes(this.#format, audio.byteLength);
    const expectedMs = this.#nextMs ?? timestampMs;
    const jumpMs = timestampMs - expectedMs;
    if (jumpMs < -toleranceMs) return { audio: [], missingMs: 0, isLate: true };
    // Within the tolerance the sum of the durations is the better clock, but an uneven one may not add up.
    const missingMs = jumpMs > toleranceMs ? jumpMs : 0;
    const mediaMs = missingMs > 0 ? timestampMs : expectedMs;
    this.#nextMs = mediaMs + ms;
    const filledMs = Math.min(missingMs, this.#maxSilenceMs);
    if (filledMs === 0) return { audio: [{ mediaMs, audio }], missingMs, isLate: false };
    const quiet = silence(this.#format, bytesOfMs(this.#format, filledMs));
    return {
      audio: [
        { mediaMs: mediaMs - filledMs, audio: quiet },
        { mediaMs, audio },
      ],
      missingMs,
      isLate: false,
    };
  }
}
