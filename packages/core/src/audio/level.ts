import type { AudioFormat } from './audio-format.ts';
import { decodeAlaw, decodeMulaw } from './g711.ts';

/**
 * The effective value (root mean square) of audio, in parts of full scale: 0 to 1. No audio has 0. Speech on a telephone
 * lies around 0.05 to 0.2, the noise of its line below 0.005.
 */
export function levelOf(format: AudioFormat, audio: Uint8Array): number {
  const samples = linearSamples(format, audio);
  if (samples.length === 0) return 0;
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.sqrt(sum / samples.length) / 32_768;
}

/** Linear 16-bit samples of audio. A copy. Half a sample at the end is left out. */
export function linearSamples({ encoding }: AudioFormat, audio: Uint8Array): Int16Array<ArrayBuffer> {
  if (encoding === 'mulaw') return decodeMulaw(audio);
  if (encoding === 'alaw') return decodeAlaw(audio);
  const samples = new Int16Array(audio.byteLength >> 1);
  const view = new DataView(audio.buffer, audio.byteOffset, audio.byteLength);
  for (let index = 0; index < samples.length; index += 1) samples[index] = view.getInt16(index * 2, true);
  return samples;
}
