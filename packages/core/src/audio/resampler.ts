import { invalid } from '../invalid.ts';
import { type AudioFormat, checkAudioFormat, checkWholeSamples } from './audio-format.ts';
import { encodeAlaw, encodeMulaw } from './g711.ts';
import { linearSamples } from './level.ts';

/** The filter reaches so many samples of the lower rate to each side: 2 ms at 8,000 Hz. */
const reach = 16;
/** The shape of the filter's window (Kaiser's β): what it stops is 80 dB down. */
const windowShape = 7.857;
const noWeights = new Float64Array(0);
/** The most numbers in a filter's table. Rates that are used have far fewer: 44,100 to 8,000 Hz takes 14,240. */
const maxTableSize = 65_536;

/**
 * Makes audio of another rate and encoding, piece by piece, as if it came in one: whatever the pieces are, the same samples
 * come out. What is made of `n` samples is `floor(n × rate ÷ rate before)` samples, in all, and each stands where it belongs:
 * nothing is shifted, so that durations and times stay what they are. The last 2 ms (at 8,000 Hz; `delayMs`) are held
 * until more comes or `end` is called.
 *
 * A band-limiting filter (a windowed sinc) passes up to 0.42 of the lower rate, 3,370 Hz of a telephone's 8,000, and what it
 * stops is 80 dB down and more from 0.58 of it; between those, a little of the one is mirrored in the other. 16 bits are clipped.
 *
 * @example
 * ```ts
 * import { Resampler, telephoneAudio } from '@spillway/core/audio';
 *
 * const resampler = new Resampler({ encoding: 'pcm16', sampleRateHz: 24_000 }, telephoneAudio);
 * const first = resampler.push(new Uint8Array(9600)); // 200 ms, of which 198 come out
 * const rest = resampler.end();
 * console.log(first.byteLength + rest.byteLength); // 1600
 * ```
 */
export class Resampler {
  /** How much later audio comes out than it went in, in milliseconds; 0 where only the encoding is another. */
  readonly delayMs: number;
  readonly #from: AudioFormat;
  readonly #to: AudioFormat;
  /** Output sample `k` stands at `k × down ÷ up` input samples. The smallest whole numbers. */
  readonly #up: number;
  readonly #down: number;
  /** Input samples that the filter reaches to each side. */
  readonly #side: number;
  /** The filter's weights, one row for each place between two input samples. */
  readonly #rows: readonly Float64Array[];
  /** The samples that are still needed: the filter's left side first. */
  #held: Int16Array<ArrayBuffer>;
  /** Where the next output sample stands, counted in `1 ÷ up` of an input sample from the place where its left side is held. */
  #next = 0;

  /** @throws {SpillwayError} `invalid_option`: a format that is none, or rates that have almost no common divisor. */
  constructor(from: AudioFormat, to: AudioFormat) {
    checkAudioFormat(from);
    checkAudioFormat(to);
    const divisor = commonDivisor(from.sampleRateHz, to.sampleRateHz);
    this.#from = from;
    this.#to = to;
    this.#up = to.sampleRateHz / divisor;
    this.#down = from.sampleRateHz / divisor;
    const isSameRate = this.#up === this.#down;
    const spread = Math.max(1, this.#down / this.#up);
    this.#side = isSameRate ? 0 : Math.ceil(reach * spread);
    if (this.#up * this.#side * 2 > maxTableSize)
      throw invalid(
        `sampleRateHz: expected rates with a common divisor, such as 8000, 16000, 24000, 44100 and 48000, got ${from.sampleRateHz} and ${to.sampleRateHz}.`,
      );
    this.#rows = isSameRate ? [] : filterRows(this.#up, this.#side, spread);
    this.delayMs = (this.#side * 1000) / from.sampleRateHz;
    this.#held = this.#silence();
  }

  /**
   * Takes audio, and returns what can be made by now; may be empty.
   *
   * @throws {SpillwayError} `invalid_option`: half a sample.
   */
  push(audio: Uint8Array): Uint8Array<ArrayBuffer> {
    checkWholeSamples(this.#from, audio);
    const samples = linearSamples(this.#from, audio);
    return encodedSamples(this.#to, this.#rows.length === 0 ? samples : this.#make(samples));
  }

  /** Returns the rest. What is pushed from now on is another piece of audio, that has nothing before it. */
  end(): Uint8Array<ArrayBuffer> {
    // As many samples as the filter reaches: what stands on real ones is made, and no more.
    const rest = this.#rows.length === 0 ? new Int16Array(0) : this.#make(new Int16Array(this.#side));
    this.#held = this.#silence();
    this.#next = 0;
    return encodedSamples(this.#to, rest);
  }

  #make(samples: Int16Array): Int16Array {
    const held = new Int16Array(this.#held.length + samples.length);
    held.set(this.#held);
    held.set(samples, this.#held.length);
    // A sample is made when the whole of its interval lies on samples with all of the filter's right side behind it.
    const last = (held.length - 2 * this.#side) * this.#up - this.#down;
    const made = new Int16Array(Math.max(0, Math.floor((last - this.#next) / this.#down) + 1));
    for (let index = 0; index < made.length; index += 1, this.#next += this.#down) {
      const row = this.#rows[this.#next % this.#up] ?? noWeights;
      const start = Math.floor(this.#next / this.#up);
      let sum = 0;
      for (let tap = 0; tap < row.length; tap += 1) sum += (row[tap] ?? 0) * (held[start + tap] ?? 0);
      made[index] = Math.max(-32_768, Math.min(32_767, Math.round(sum)));
    }
    const done = Math.floor(this.#next / this.#up);
    this.#held = held.slice(done);
    this.#next -= done * this.#up;
    return made;
  }

  /** Before the first sample there is silence. */
  #silence(): Int16Array<ArrayBuffer> {
    return new Int16Array(this.#side);
  }
}

/** For each place between two samples the weights of the samples around it. Their sum is 1, so that a level stays what it is. */
function filterRows(up: number, side: number, spread: number): readonly Float64Array[] {
  return Array.from({ length: up }, (_, place) => {
    // The first weight is of the sample that lies `side` to the left.
    const row = Float64Array.from({ length: 2 * side + 1 }, (_unused, tap) =>
      weight((tap - side - place / up) / spread),
    );
    const sum = row.reduce((total, one) => total + one, 0);
    return row.map((one) => one / sum);
  });
}

/** The filter at a distance in samples of the lower rate. */
function weight(distance: number): number {
  if (Math.abs(distance) >= reach) return 0;
  const angle = Math.PI * distance;
  const sinc = angle === 0 ? 1 : Math.sin(angle) / angle;
  return (sinc * bessel(windowShape * Math.sqrt(1 - (distance / reach) ** 2))) / bessel(windowShape);
}

/** The modified Bessel function of order 0, by its series. */
function bessel(x: number): number {
  let term = 1;
  let sum = 1;
  for (let index = 1; term > sum * 1e-12; index += 1) {
    term *= (x / 2 / index) ** 2;
    sum += term;
  }
  return sum;
}

function commonDivisor(one: number, other: number): number {
  return other === 0 ? one : commonDivisor(other, one % other);
}

function encodedSamples({ encoding }: AudioFormat, samples: Int16Array): Uint8Array<ArrayBuffer> {
  if (encoding === 'mulaw') return encodeMulaw(samples);
  if (encoding === 'alaw') return encodeAlaw(samples);
  const bytes = new Uint8Array(samples.length * 2);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < samples.length; index += 1) view.setInt16(index * 2, samples[index] ?? 0, true);
  return bytes;
}
