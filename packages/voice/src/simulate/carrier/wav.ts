import { SpillwayError } from '@spillway/core';
import { encodeMulaw } from '@spillway/core/audio';

/** Why a file is no audio of a telephone. */
export type WavErrorCode = 'invalid_audio';

interface WavFormat {
  readonly tag: number;
  readonly channels: number;
  readonly sampleRateHz: number;
  readonly bits: number;
}

/** The format tags of WAVE that are read; an extensible one has its own tag inside. */
const tags = { pcm: 1, mulaw: 7, extensible: 0xff_fe } as const;

/**
 * Reads a WAV file for a telephone: 8,000 samples a second, mono, µ-law or linear with 16 bits. Returns µ-law. Nothing is
 * resampled.
 *
 * @throws {SpillwayError} `invalid_audio`, with what was expected and what the file has.
 */
export function readWav(file: Uint8Array): Uint8Array {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (
    bytes.byteLength < 12 ||
    bytes.toString('latin1', 0, 4) !== 'RIFF' ||
    bytes.toString('latin1', 8, 12) !== 'WAVE'
  )
    throw invalid('expected a WAV file, got one that does not begin as RIFF and WAVE');
  let format: WavFormat | undefined;
  for (let at = 12; at + 8 <= bytes.byteLength;) {
    const name = bytes.toString('latin1', at, at + 4);
    const size = bytes.readUInt32LE(at + 4);
    // A program that did not know the size has written the largest one: the file's end counts.
    const chunk = bytes.subarray(at + 8, at + 8 + size);
    if (name === 'fmt ') format = readFormat(chunk);
    if (name === 'data') {
      if (format === undefined) throw invalid('expected the chunk fmt before the chunk data, got none');
      return telephoneOf(format, chunk);
    }
    // Chunks have an even size.
    at += 8 + size + (size % 2);
  }
  throw invalid('expected a chunk of data in the WAV file, got none');
}

function readFormat(chunk: Buffer): WavFormat {
  if (chunk.byteLength < 16) throw invalid('expected a chunk fmt of 16 bytes or more in the WAV file');
  const outer = chunk.readUInt16LE(0);
  return {
    tag: outer === tags.extensible && chunk.byteLength >= 26 ? chunk.readUInt16LE(24) : outer,
    channels: chunk.readUInt16LE(2),
    sampleRateHz: chunk.readUInt32LE(4),
    bits: chunk.readUInt16LE(14),
  };
}

function telephoneOf({ bits, channels, sampleRateHz, tag }: WavFormat, data: Buffer): Uint8Array {
  const isMulaw = tag === tags.mulaw && bits === 8;
  const isLinear = tag === tags.pcm && bits === 16;
  if (channels !== 1 || sampleRateHz !== 8000 || !(isMulaw || isLinear))
    throw invalid(
      `expected 8000 samples a second, mono, µ-law or linear with 16 bits; got ${sampleRateHz} samples a second, ${channels === 1 ? 'mono' : `${channels} channels`}, ${named(tag)} with ${bits} bits: ffmpeg -i FILE -ar 8000 -ac 1 -c:a pcm_mulaw NEW.wav`,
    );
  if (isMulaw) return data;
  return encodeMulaw(
    Int16Array.from({ length: data.byteLength >> 1 }, (_, index) => data.readInt16LE(index * 2)),
  );
}

function named(tag: number): string {
  if (tag === tags.pcm) return 'linear';
  return tag === tags.mulaw ? 'µ-law' : `format ${tag}`;
}

function invalid(message: string): SpillwayError<WavErrorCode> {
  return new SpillwayError('invalid_audio', message);
}
