import { describe, expect, test } from 'vitest';
import { decodeMulaw } from '@spillway/core/audio';
import { readWav } from '../../src/simulate/carrier/index.ts';
import { tone } from '../support/tone.ts';
import { chunk, wav } from '../support/wav.ts';

const mulaw = tone(100);
const linear = Buffer.from(decodeMulaw(mulaw).buffer);

describe('a WAV file', () => {
  test('of a telephone is read: µ-law, and linear with 16 bits', () => {
    expect(Buffer.compare(readWav(wav(mulaw)), mulaw)).toBe(0);
    expect(Buffer.compare(readWav(wav(linear, { tag: 1, bits: 16 })), mulaw)).toBe(0);
    const extension = Buffer.alloc(24);
    extension.writeUInt16LE(22, 0);
    extension.writeUInt16LE(1, 8);
    expect(Buffer.compare(readWav(wav(linear, { tag: 0xff_fe, bits: 16, extension })), mulaw)).toBe(0);
  });

  test('may have other chunks, and a size that was never known', () => {
    const before = chunk('LIST', Buffer.from('odd'));
    expect(Buffer.compare(readWav(wav(mulaw, { before })), mulaw)).toBe(0);
    expect(Buffer.compare(readWav(wav(mulaw, { size: 0xff_ff_ff_ff })), mulaw)).toBe(0);
  });

  test.each([
    [
      'another rate',
      wav(linear, { tag: 1, bits: 16, rate: 44_100 }),
      'got 44100 samples a second, mono, linear with 16 bits',
    ],
    ['two channels', wav(mulaw, { channels: 2 }), '2 channels, µ-law with 8 bits'],
    ['other samples', wav(mulaw, { tag: 3, bits: 32 }), 'format 3 with 32 bits'],
    ['linear with 8 bits', wav(mulaw, { tag: 1 }), 'linear with 8 bits'],
    ['no WAV at all', Buffer.from('ID3 and so on'), 'does not begin as RIFF and WAVE'],
    ['nothing', Buffer.alloc(0), 'does not begin as RIFF and WAVE'],
    ['no data', chunk('RIFF', Buffer.from('WAVE')), 'expected a chunk of data'],
    [
      'data before its format',
      chunk('RIFF', Buffer.concat([Buffer.from('WAVE'), chunk('data', Buffer.alloc(2))])),
      'fmt before',
    ],
    [
      'half a format',
      chunk('RIFF', Buffer.concat([Buffer.from('WAVE'), chunk('fmt ', Buffer.alloc(4))])),
      'fmt of 16 bytes',
    ],
    ['a file that was cut', wav(mulaw).subarray(0, 30), 'expected a chunk'],
  ])('with %s is refused, and says what it has', (_, file, message) => {
    expect(() => readWav(file)).toThrow(message);
    expect(() => readWav(file)).toThrow(expect.objectContaining({ code: 'invalid_audio' }));
  });
});
