import { type AudioFormat, bytesOfMs, bytesPerSample } from '@spillway/core/audio';
import { StageError } from '../stage-error.ts';

/** The most speech of so many characters. Whoever makes more does not speak the text. */
const maxMs = 60_000;
const perCharacters = 200;

/** Whether there is anything to be spoken in a text: a letter or a digit of any script. */
export function isSpoken(text: string): boolean {
  return /[\p{L}\p{N}]/u.test(text);
}

/** The audio of one text, as it comes from outside: made whole samples, and bounded. */
export class SpeechBytes {
  readonly #sample: number;
  readonly #maxBytes: number;
  #bytes = 0;
  /** Less than a sample. */
  #half: Uint8Array = new Uint8Array(0);

  constructor(format: AudioFormat, text: string) {
    this.#sample = bytesPerSample(format);
    this.#maxBytes = bytesOfMs(format, maxMs * Math.max(1, Math.ceil(text.length / perCharacters)));
  }

  /** What has come, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes bytes, and gives the whole samples of them; may be empty.
   *
   * @throws {StageError} `bad_message`: too much.
   */
  push(bytes: Uint8Array): Uint8Array {
    this.#bytes += bytes.byteLength;
    if (this.#bytes > this.#maxBytes)
      throw new StageError('bad_message', `It made more than ${this.#maxBytes} bytes of speech of one text.`);
    const all = this.#half.byteLength === 0 ? bytes : Buffer.concat([this.#half, bytes]);
    const whole = all.byteLength - (all.byteLength % this.#sample);
    this.#half = all.slice(whole);
    return all.subarray(0, whole);
  }

  /** @throws {StageError} `lost`: half a sample is left. */
  end(): void {
    if (this.#half.byteLength > 0)
      throw new StageError('lost', 'Its speech ended in the middle of a sample.');
  }
}
