import { type AudioFormat, levelOf, msOfBytes } from '@spillway/core/audio';

/** Louder than the noise of a telephone line, and quieter than anybody who speaks on it. */
const soundLevel = 0.005;

/** How much audio of the caller was sent, and how long it has been quiet at its end. The time is the audio's own. */
export class CallerSound {
  readonly #format: AudioFormat;
  #bytes = 0;
  #quietFrom: number | undefined;

  constructor(format: AudioFormat) {
    this.#format = format;
  }

  /** All that was sent, in milliseconds. */
  get sentMs(): number {
    return msOfBytes(this.#format, this.#bytes);
  }

  /** How long nothing was to be heard of the caller, in milliseconds; `Infinity`: since the beginning. */
  get quietMs(): number {
    return this.#quietFrom === undefined ? Infinity : msOfBytes(this.#format, this.#bytes - this.#quietFrom);
  }

  sent(audio: Uint8Array): void {
    this.#bytes += audio.byteLength;
    if (levelOf(this.#format, audio) >= soundLevel) this.#quietFrom = this.#bytes;
  }
}
