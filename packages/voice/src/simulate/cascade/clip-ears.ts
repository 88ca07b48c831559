import { type AudioFormat, levelOf, Resampler, telephoneAudio } from '@spillway/core/audio';
import type { Speech } from '../speech.ts';

/** Loudness is looked at in steps of this length: a clip's place is right to one. */
const stepMs = 10;
/** So alike have the loudness of a clip and of what was heard to be: 1 is the same up to a factor. */
const minLikeness = 0.85;
/** A short part is more often like another one by chance. */
const minShortLikeness = 0.95;
const shortSteps = 120;
/** Less of a clip is not told from others. */
const minSteps = 60;
/** What may be missing of a clip's beginning. */
const maxMissingSteps = 60;

/** A word, and where it was heard in the audio, in milliseconds. */
export interface ClipWord {
  readonly text: string;
  readonly fromMs: number;
  readonly toMs: number;
}

interface Clip {
  readonly words: readonly string[];
  readonly levels: Float64Array;
}

interface Match {
  readonly clip: Clip;
  /** Where the clip begins in what was heard, in steps; below 0: its beginning is missing. */
  readonly at: number;
  readonly likeness: number;
}

/**
 * Knows clips by how loud they are from moment to moment: also when they were resampled, encoded anew, made louder, cut off at either
 * end or lie in some noise. Words are spread evenly over their clip.
 */
export class ClipEars {
  readonly #clips: readonly Clip[];

  constructor(clips: readonly Speech[]) {
    this.#clips = clips.map(({ audio, text }) => ({
      words: text.split(' '),
      levels: levelsOf(telephoneAudio, audio),
    }));
  }

  /** The words in some audio. */
  wordsOf(format: AudioFormat, audio: Uint8Array): ClipWord[] {
    const heard = levelsOf(format, audio);
    return this.#matches(heard, 0, heard.length).flatMap(({ at, clip }) => {
      const stepsPerWord = clip.levels.length / clip.words.length;
      return clip.words.flatMap((text, index) => {
        const from = at + index * stepsPerWord;
        const middle = from + stepsPerWord / 2;
        if (middle < 0 || middle > heard.length) return [];
        return [{ text, fromMs: Math.max(0, from) * stepMs, toMs: (from + stepsPerWord) * stepMs }];
      });
    });
  }

  /** The clips in a part of what was heard, in order. */
  #matches(heard: Float64Array, from: number, to: number): Match[] {
    if (to - from < minSteps) return [];
    let best: Match | undefined;
    for (const clip of this.#clips)
      for (let at = from - maxMissingSteps; at + minSteps <= to; at += 1) {
        const likeness = likenessOf(heard, from, to, clip.levels, at);
        if (likeness > (best?.likeness ?? 0)) best = { clip, at, likeness };
      }
    if (best === undefined) return [];
    return [
      ...this.#matches(heard, from, best.at),
      best,
      ...this.#matches(heard, best.at + best.clip.levels.length, to),
    ];
  }
}

/** Pearson's correlation of a clip that begins at `at` with what was heard, where both are; 0: not alike. */
function likenessOf(heard: Float64Array, from: number, to: number, clip: Float64Array, at: number): number {
  const begin = Math.max(from, at);
  const end = Math.min(to, at + clip.length);
  const count = end - begin;
  if (count < Math.min(minSteps, clip.length)) return 0;
  let sumA = 0;
  let sumB = 0;
  let sumAA = 0;
  let sumBB = 0;
  let sumAB = 0;
  for (let index = begin; index < end; index += 1) {
    const a = heard[index] ?? 0;
    const b = clip[index - at] ?? 0;
    sumA += a;
    sumB += b;
    sumAA += a * a;
    sumBB += b * b;
    sumAB += a * b;
  }
  const least = count < Math.min(shortSteps, clip.length) ? minShortLikeness : minLikeness;
  const spread = (sumAA - (sumA * sumA) / count) * (sumBB - (sumB * sumB) / count);
  const likeness = spread <= 0 ? 0 : (sumAB - (sumA * sumB) / count) / Math.sqrt(spread);
  return likeness < least ? 0 : likeness;
}

/** How loud audio is, step by step. */
function levelsOf(format: AudioFormat, audio: Uint8Array): Float64Array {
  const linear: AudioFormat = { encoding: 'pcm16', sampleRateHz: 8000 };
  const resampler = new Resampler(format, linear);
  const bytes = Buffer.concat([resampler.push(audio), resampler.end()]);
  const stepBytes = (stepMs * 8000 * 2) / 1000;
  return Float64Array.from({ length: Math.floor(bytes.byteLength / stepBytes) }, (_, index) =>
    levelOf(linear, bytes.subarray(index * stepBytes, (index + 1) * stepBytes)),
  );
}
