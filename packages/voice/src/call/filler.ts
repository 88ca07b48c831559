import { type AudioFormat, msOfBytes, type SpokenPart } from '@spillway/core/audio';
import type { Clock, Timer } from '@spillway/core/clock';
import type { WatchedPlayout } from './watched-playout.ts';

/** What is played while a tool works. */
export interface FillerOptions {
  readonly audio: Uint8Array;
  readonly format: AudioFormat;
  readonly playout: WatchedPlayout;
  readonly clock: Pick<Clock, 'after'>;
}

/** Silence before a filler begins: most tools are faster than this. */
const silenceMs = 1000;

/** The part that a filler is, of no model. */
const part: SpokenPart = { itemId: 'spillway_filler', contentIndex: 0 };

/** Audio that is played again and again while a tool works and the ear has nothing else to play. */
export class Filler {
  readonly #options: FillerOptions;
  #timer: Timer | undefined;
  #isPlaying = false;

  constructor(options: FillerOptions) {
    this.#options = options;
  }

  /** A part that is no model's. */
  static is({ itemId }: SpokenPart): boolean {
    return itemId === part.itemId;
  }

  /** A tool works. */
  begin(): void {
    this.#timer ??= this.#options.clock.after(silenceMs, () => this.#play());
  }

  /** The model speaks, or no tool works: what still plays of it is dropped. */
  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
    if (!this.#isPlaying) return;
    this.#isPlaying = false;
    this.#options.playout.interrupt();
  }

  /** The human spoke into it: it was dropped, and does not begin again for this tool. */
  forget(): void {
    this.#timer?.stop();
    this.#timer = undefined;
    this.#isPlaying = false;
  }

  #play(): void {
    const { audio, clock, format, playout } = this.#options;
    // While others speak, it waits for silence.
    if (this.#isPlaying || playout.isIdle) {
      // One is always ahead, so that a late timer is not heard.
      if (!this.#isPlaying) playout.write(part, audio);
      this.#isPlaying = true;
      playout.write(part, audio);
    }
    const inMs = this.#isPlaying ? msOfBytes(format, audio.byteLength) : silenceMs;
    this.#timer = clock.after(inMs, () => this.#play());
  }
}
