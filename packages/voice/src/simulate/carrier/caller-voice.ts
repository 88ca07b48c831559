import { silence, telephoneAudio } from '@spillway/core/audio';
import type { SaidAudio } from './call-record.ts';

/** The duration of a frame, and its bytes. */
export const frameMs = 20;
const frameBytes = 160;

/** What the human says: clips one after the other, in frames, and silence between them. */
export class CallerVoice {
  readonly #clips: Uint8Array[] = [];
  readonly #said: SaidAudio[] = [];
  #bytesOfFirst = 0;

  /** What was said, or was begun to be. */
  get said(): readonly SaidAudio[] {
    return this.#said;
  }

  /** Whether all was said. */
  get isQuiet(): boolean {
    return this.#clips.length === 0;
  }

  say(clip: Uint8Array): void {
    if (clip.byteLength > 0) this.#clips.push(clip);
  }

  /** Takes the frame that begins at a moment. */
  frame(atMs: number): Uint8Array {
    const [clip] = this.#clips;
    if (clip === undefined) return silence(telephoneAudio, frameBytes);
    if (this.#bytesOfFirst === 0) this.#said.push({ atMs, ms: (clip.byteLength * frameMs) / frameBytes });
    const part = clip.subarray(this.#bytesOfFirst, this.#bytesOfFirst + frameBytes);
    this.#bytesOfFirst += part.byteLength;
    if (this.#bytesOfFirst >= clip.byteLength) {
      this.#clips.shift();
      this.#bytesOfFirst = 0;
    }
    if (part.byteLength === frameBytes) return part;
    const whole = silence(telephoneAudio, frameBytes);
    whole.set(part);
    return whole;
  }
}
