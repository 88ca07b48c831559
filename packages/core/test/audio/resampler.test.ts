import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type AudioFormat,
  bytesPerSample,
  linearSamples,
  msOfBytes,
  Resampler,
  telephoneAudio,
} from '../../src/audio/index.ts';
import { checkProperty } from '../support/property.ts';

const pcm = (sampleRateHz: number): AudioFormat => ({ encoding: 'pcm16', sampleRateHz });

/** A tone in 16 bits. */
function tone(sampleRateHz: number, hz: number, ms: number): Uint8Array {
  const samples = Int16Array.from(
    { length: (ms * sampleRateHz) / 1000 },
    (_, index) => 16_000 * Math.sin((2 * Math.PI * hz * index) / sampleRateHz),
  );
  return new Uint8Array(samples.buffer);
}

/** All of it as one piece. */
function whole(from: AudioFormat, to: AudioFormat, audio: Uint8Array): Buffer {
  const resampler = new Resampler(from, to);
  return Buffer.concat([resampler.push(audio), resampler.end()]);
}

/** How far what was made is below what had to be made, in dB, without the first and last 20 ms. */
function errorDb(format: AudioFormat, made: Uint8Array, wanted: Uint8Array): number {
  const edge = format.sampleRateHz / 50;
  const one = linearSamples(format, made).subarray(edge, -edge);
  const other = linearSamples(format, wanted).subarray(edge, -edge);
  expect(one.length).toBe(other.length);
  let signal = 0;
  let error = 0;
  for (const [index, value] of other.entries()) {
    signal += value ** 2;
    error += ((one[index] ?? 0) - value) ** 2;
  }
  return 10 * Math.log10(error / signal);
}

describe('audio of another rate', () => {
  test.each([
    [8000, 16_000],
    [24_000, 8000],
    [8000, 24_000],
    [48_000, 24_000],
    [44_100, 8000],
  ])('from %i to %i Hz, a tone is the tone, where it was', (from, to) => {
    for (const hz of [300, 1000, 3000])
      expect(
        errorDb(pcm(to), whole(pcm(from), pcm(to), tone(from, hz, 500)), tone(to, hz, 500)),
      ).toBeLessThan(-70);
  });

  test.each([5000, 6000, 9000])('of %i Hz, which a telephone has not, nothing is left', (hz) => {
    const made = linearSamples(pcm(8000), whole(pcm(24_000), pcm(8000), tone(24_000, hz, 500)));
    // A part of 10,000: 80 dB.
    expect(Math.max(...made.subarray(160, -160).map(Math.abs))).toBeLessThanOrEqual(2);
  });

  test('what is louder than sixteen bits is clipped, and does not turn over', () => {
    const square = Int16Array.from({ length: 800 }, (_, index) => (index % 40 < 20 ? 32_767 : -32_768));
    const made = linearSamples(pcm(16_000), whole(pcm(8000), pcm(16_000), new Uint8Array(square.buffer)));
    // Its corners overshoot. Where it is high, it stays high.
    for (const [index, sample] of made.subarray(0, -40).entries()) {
      const place = index % 80;
      if (place >= 2 && place < 38) expect(sample).toBeGreaterThan(20_000);
      if (place >= 42 && place < 78) expect(sample).toBeLessThan(-20_000);
    }
  });

  test('of the same rate, only the encoding is another, at once', () => {
    const resampler = new Resampler(telephoneAudio, { encoding: 'alaw', sampleRateHz: 8000 });
    expect([...resampler.push(Uint8Array.of(0xff, 0x80))]).toEqual([0xd5, 0xaa]);
    expect(resampler.end().byteLength).toBe(0);
    expect(resampler.delayMs).toBe(0);
  });

  test('half a sample, and rates with nothing in common, are refused', () => {
    expect(() => new Resampler(pcm(24_000), telephoneAudio).push(new Uint8Array(3))).toThrow('whole samples');
    expect(() => new Resampler(pcm(8001), pcm(44_101))).toThrow('common divisor');
  });
});

describe('audio that is resampled keeps its time', () => {
  const formats: readonly AudioFormat[] = [
    telephoneAudio,
    pcm(8000),
    pcm(11_025),
    pcm(16_000),
    pcm(24_000),
    pcm(44_100),
    pcm(48_000),
  ];

  test('however it is cut, the same samples come out, in time, and no more than their share', async () => {
    await checkProperty(
      'audio: resampler',
      fc.property(
        fc.constantFrom(...formats),
        fc.constantFrom(...formats),
        fc.uint8Array({ maxLength: 4000 }),
        fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 12 }),
        (from, to, bytes, cuts) => {
          const sample = bytesPerSample(from);
          const audio = bytes.subarray(0, bytes.length - (bytes.length % sample));
          const resampler = new Resampler(from, to);
          // What came before another piece's end is not heard in it.
          resampler.push(new Uint8Array(sample * 7).fill(0x11));
          resampler.end();
          const made: Uint8Array[] = [];
          let at = 0;
          for (const cut of [...cuts, audio.length]) {
            const piece = audio.subarray(at, at + cut * sample);
            at += piece.length;
            made.push(resampler.push(piece));
            const lateMs = msOfBytes(from, at) - msOfBytes(to, Buffer.concat(made).length);
            expect(lateMs).toBeLessThan(resampler.delayMs + 1000 / to.sampleRateHz + 1e-6);
          }
          made.push(resampler.end());
          const all = Buffer.concat(made);
          expect(all.equals(whole(from, to, audio))).toBe(true);
          const share = (audio.length / sample) * (to.sampleRateHz / from.sampleRateHz);
          expect(all.length / bytesPerSample(to)).toBe(Math.floor(share + 1e-9));
        },
      ),
    );
  });

  test('after an hour in pieces of 20 ms and some, not a sample is missing', () => {
    const resampler = new Resampler(pcm(1000), pcm(3000));
    const piece = new Uint8Array(2 * 37);
    let bytes = 0;
    for (let index = 0; index < 100_000; index += 1) bytes += resampler.push(piece).byteLength;
    bytes += resampler.end().byteLength;
    expect(msOfBytes(pcm(3000), bytes)).toBe(3_700_000);
  });
});
