import { describe, expect, test } from 'vitest';
import {
  type AudioFormat,
  bytesOfMs,
  checkAudioFormat,
  decodeAlaw,
  decodeMulaw,
  encodeAlaw,
  encodeMulaw,
  levelOf,
  linearSamples,
  msOfBytes,
  silence,
  telephoneAudio,
} from '../../src/audio/index.ts';
import { SpillwayError } from '../../src/index.ts';

const wide: AudioFormat = { encoding: 'pcm16', sampleRateHz: 24_000 };
const all16 = Int16Array.from({ length: 65_536 }, (_, index) => index - 32_768);
const allBytes = Uint8Array.from({ length: 256 }, (_, index) => index);

describe('durations', () => {
  test('are those of whole samples', () => {
    expect(bytesOfMs(telephoneAudio, 20)).toBe(160);
    expect(bytesOfMs(wide, 20)).toBe(960);
    expect(bytesOfMs({ encoding: 'pcm16', sampleRateHz: 11_025 }, 20)).toBe(440);
    expect(msOfBytes(telephoneAudio, 160)).toBe(20);
    expect(msOfBytes(wide, 1)).toBeCloseTo(1 / 48);
  });

  test('of an hour of frames, as a sum of bytes, are an hour', () => {
    for (const format of [telephoneAudio, wide, { encoding: 'alaw', sampleRateHz: 16_000 } as const])
      expect(msOfBytes(format, 180_000 * bytesOfMs(format, 20))).toBe(3_600_000);
  });

  test('a wrong format says what was expected', () => {
    expect(() => checkAudioFormat({ ...wide, sampleRateHz: 24_000.5 })).toThrow(
      new SpillwayError(
        'invalid_option',
        'sampleRateHz: expected a whole number from 1,000 to 384,000, got 24000.5.',
      ),
    );
    expect(() => checkAudioFormat({ ...wide, encoding: 'opus' as 'pcm16' })).toThrow(
      /expected alaw, mulaw or pcm16/u,
    );
  });
});

describe('G.711', () => {
  // From the recommendation's tables: the values of the steps, in the 16 bits that programs use.
  test('µ-law has the values of the recommendation', () => {
    const table: readonly (readonly [number, number])[] = [
      [0xff, 0],
      [0x7f, 0],
      [0xfe, 8],
      [0x7e, -8],
      [0xef, 132],
      [0x80, 32_124],
      [0x00, -32_124],
      [0x8f, 16_764],
    ];
    for (const [byte, value] of table)
      expect([byte, decodeMulaw(Uint8Array.of(byte))[0]]).toEqual([byte, value]);
  });

  test('A-law has the values of the recommendation', () => {
    const table: readonly (readonly [number, number])[] = [
      [0xd5, 8],
      [0x55, -8],
      [0xd4, 24],
      [0xaa, 32_256],
      [0x2a, -32_256],
      [0xc5, 264],
    ];
    for (const [byte, value] of table)
      expect([byte, decodeAlaw(Uint8Array.of(byte))[0]]).toEqual([byte, value]);
  });

  test('a byte that is decoded and encoded is the same byte', () => {
    expect(encodeAlaw(decodeAlaw(allBytes))).toEqual(allBytes);
    // µ-law has two zeros: the negative one becomes the positive one.
    expect(encodeMulaw(decodeMulaw(allBytes))).toEqual(allBytes.map((byte) => (byte === 0x7f ? 0xff : byte)));
  });

  test('each sample becomes the nearest value that there is, and order is kept', () => {
    for (const { decoded, decode } of [
      { decoded: decodeMulaw(encodeMulaw(all16)), decode: decodeMulaw },
      { decoded: decodeAlaw(encodeAlaw(all16)), decode: decodeAlaw },
    ]) {
      const values = [...new Set(decode(allBytes))].toSorted((one, other) => one - other);
      let index = 0;
      for (const [place, sample] of all16.entries()) {
        while (Math.abs((values[index + 1] ?? Infinity) - sample) < Math.abs((values[index] ?? 0) - sample))
          index += 1;
        const best = Math.abs((values[index] ?? 0) - sample);
        // Where a step is beside one of twice its size, the border of the two is that of the smaller one.
        expect(Math.abs((decoded[place] ?? 0) - sample)).toBeLessThanOrEqual(2 * best + 8);
        expect(decoded[place]).toBeGreaterThanOrEqual(decoded[place - 1] ?? -32_768);
      }
    }
  });
});

describe('levels', () => {
  test('silence is silent in each encoding, and a zero byte of µ-law is not', () => {
    for (const encoding of ['alaw', 'mulaw', 'pcm16'] as const) {
      const format = { encoding, sampleRateHz: 8000 };
      expect(levelOf(format, silence(format, 160))).toBeLessThan(0.0005);
    }
    expect(levelOf(telephoneAudio, new Uint8Array(160))).toBeGreaterThan(0.9);
    expect(levelOf(telephoneAudio, new Uint8Array(0))).toBe(0);
  });

  test('samples that lie at an odd address are read', () => {
    const bytes = Uint8Array.of(9, 1, 0, 0xff, 0xff, 7).subarray(1);
    expect(linearSamples(wide, bytes)).toEqual(Int16Array.of(1, -1));
  });
});
