import { bytesOfMs, levelOf, telephoneAudio } from '@spillway/core/audio';

/** Audio of this level is speech. */
const loudLevel = 0.015;

/** Words of a telephone without the silence at both ends: the simulated model's own silence begins where they end. */
export function loudPart(audio: Uint8Array): Uint8Array {
  const stepBytes = bytesOfMs(telephoneAudio, 20);
  const isLoud = (begin: number): boolean =>
    levelOf(telephoneAudio, audio.subarray(begin, begin + stepBytes)) >= loudLevel;
  let end = audio.byteLength - (audio.byteLength % stepBytes);
  while (end > 0 && !isLoud(end - stepBytes)) end -= stepBytes;
  let begin = 0;
  while (begin < end && !isLoud(begin)) begin += stepBytes;
  return audio.subarray(begin, end);
}
