import { invalid } from '../invalid.ts';

/** How samples are written: G.711's µ-law and A-law (one byte a sample), or linear 16 bits, little-endian. */
export type AudioEncoding = 'alaw' | 'mulaw' | 'pcm16';

/** Audio of one channel. */
export interface AudioFormat {
  /** How its samples are written. */
  readonly encoding: AudioEncoding;
  /** Samples a second: a whole number from 1,000 to 384,000. */
  readonly sampleRateHz: number;
}

/** What telephones use: G.711 µ-law with 8,000 samples a second. A millisecond is eight bytes. */
export const telephoneAudio: AudioFormat = { encoding: 'mulaw', sampleRateHz: 8000 };

const sampleBytes: Readonly<Record<AudioEncoding, number>> = { alaw: 1, mulaw: 1, pcm16: 2 };

/**
 * Checks a format that came from outside.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkAudioFormat({ encoding, sampleRateHz }: AudioFormat): void {
  if (!Object.hasOwn(sampleBytes, encoding))
    throw invalid(`encoding: expected alaw, mulaw or pcm16, got ${encoding}.`);
  if (!(Number.isInteger(sampleRateHz) && sampleRateHz >= 1000 && sampleRateHz <= 384_000))
    throw invalid(
      `sampleRateHz: expected a whole number from 1,000 to 384,000, got ${String(sampleRateHz)}.`,
    );
}

/** The bytes of one sample: 1 or 2. */
export function bytesPerSample({ encoding }: AudioFormat): number {
  return sampleBytes[encoding];
}

/**
 * Checks that audio has no half of a sample.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkWholeSamples(format: AudioFormat, audio: Uint8Array): void {
  const sample = bytesPerSample(format);
  if (audio.byteLength % sample !== 0)
    throw invalid(`audio: expected whole samples of ${sample} bytes each, got ${audio.byteLength} bytes.`);
}

/**
 * How long so many bytes play, in milliseconds, with fractions. To add up durations, add bytes and convert the sum: sums
 * of fractions drift.
 */
export function msOfBytes(format: AudioFormat, bytes: number): number {
  return (bytes * 1000) / (format.sampleRateHz * bytesPerSample(format));
}

/** The bytes of the whole samples that fit in so many milliseconds. */
export function bytesOfMs(format: AudioFormat, ms: number): number {
  // A rate and a duration that are whole make whole samples, where the product is divided last.
  return Math.floor((ms * format.sampleRateHz) / 1000) * bytesPerSample(format);
}

/** So many bytes of silence: 0xFF in µ-law and 0xD5 in A-law, because a zero byte is near full scale there. */
export function silence({ encoding }: AudioFormat, bytes: number): Uint8Array<ArrayBuffer> {
  const quiet = new Uint8Array(bytes);
  if (encoding !== 'pcm16') quiet.fill(encoding === 'mulaw' ? 0xff : 0xd5);
  return quiet;
}
