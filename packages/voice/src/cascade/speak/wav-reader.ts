import type { AudioFormat } from '@spillway/core/audio';
import { StageError } from '../stage-error.ts';

/** The longest header of a WAV file that is read. */
const maxHeaderBytes = 4096;
const none = new Uint8Array(0);

/** Takes a WAV file of one channel and 16 bits as it comes, and gives its samples' bytes. */
export class WavReader {
  readonly #format: AudioFormat;
  #header = Buffer.alloc(0);
  /** Of the samples; `undefined`: they have not begun. */
  #leftBytes: number | undefined;
  #hasFormat = false;

  constructor(format: AudioFormat) {
    this.#format = format;
  }

  /** Whether all samples have come. */
  get isWhole(): boolean {
    return this.#leftBytes === 0;
  }

  /** @throws {StageError} `bad_message`: no such file. */
  push(bytes: Uint8Array): Uint8Array {
    if (this.#leftBytes !== undefined) return this.#samples(this.#leftBytes, bytes);
    this.#header = Buffer.concat([this.#header, bytes]);
    const from = this.#dataFrom();
    if (from !== undefined && this.#leftBytes !== undefined)
      return this.#samples(this.#leftBytes, this.#header.subarray(from));
    if (this.#header.byteLength > maxHeaderBytes) throw wrong();
    return none;
  }

  #samples(left: number, bytes: Uint8Array): Uint8Array {
    const samples = bytes.subarray(0, left);
    this.#leftBytes = left - samples.byteLength;
    return samples;
  }

  /** Where samples begin; `undefined`: it is not known yet. */
  #dataFrom(): number | undefined {
    const header = this.#header;
    if (header.byteLength < 12) return undefined;
    if (header.toString('latin1', 0, 4) !== 'RIFF' || header.toString('latin1', 8, 12) !== 'WAVE')
      throw wrong();
    for (let at = 12; at + 8 <= header.byteLength;) {
      const name = header.toString('latin1', at, at + 4);
      const size = header.readUInt32LE(at + 4);
      if (name === 'data') {
        if (!this.#hasFormat) throw wrong();
        this.#leftBytes = size;
        return at + 8;
      }
      if (name === 'fmt ' && at + 24 <= header.byteLength) {
        const [kind, channels] = [header.readUInt16LE(at + 8), header.readUInt16LE(at + 10)];
        const [rate, bits] = [header.readUInt32LE(at + 12), header.readUInt16LE(at + 22)];
        if (kind !== 1 || channels !== 1 || bits !== 16 || rate !== this.#format.sampleRateHz) throw wrong();
        this.#hasFormat = true;
      }
      at += 8 + size + (size % 2);
    }
    return undefined;
  }
}

function wrong(): StageError {
  return new StageError('bad_message', 'It made no WAV file of the expected format.');
}
