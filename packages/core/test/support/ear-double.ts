import { type AudioFormat, type Ear, msOfBytes } from '../../src/audio/index.ts';
import type { VirtualClock } from '../../src/testing/virtual-clock.ts';

type Waiting = { readonly audio: Uint8Array } | { readonly mark: string };

/** An ear behind a link: it plays in real time, sends marks back when it has played, and knows what was really heard. */
export class EarDouble implements Ear {
  /** All that was played, in order. */
  readonly played: number[] = [];
  readonly marks: string[] = [];
  /** Called when a mark comes back over the link. */
  onMark: (name: string) => void = () => undefined;
  /** While it is `true`, nothing is played, as on a phone that is on hold. */
  isStalled = false;
  readonly #clock: VirtualClock;
  readonly #format: AudioFormat;
  readonly #delayMs: number;
  #buffer: Waiting[] = [];
  #isPlaying = false;
  #sentBytes = 0;
  #droppedBytes = 0;

  constructor(clock: VirtualClock, format: AudioFormat, delayMs: number) {
    this.#clock = clock;
    this.#format = format;
    this.#delayMs = delayMs;
  }

  /** What was sent to it and is neither played nor dropped: the truth of what is on its way. */
  get onItsWayMs(): number {
    return msOfBytes(this.#format, this.#sentBytes - this.#droppedBytes - this.played.length);
  }

  send(frame: Uint8Array): void {
    this.#sentBytes += frame.byteLength;
    this.#arrive(() => this.#buffer.push({ audio: frame }));
  }

  mark(name: string): void {
    this.marks.push(name);
    this.#arrive(() => this.#buffer.push({ mark: name }));
  }

  clear(): void {
    this.#arrive(() => {
      for (const item of this.#buffer) {
        if ('mark' in item) this.#back(item.mark);
        else this.#droppedBytes += item.audio.byteLength;
      }
      this.#buffer = [];
    });
  }

  #arrive(then: () => void): void {
    this.#clock.after(this.#delayMs, () => {
      then();
      if (!this.#isPlaying) this.#tick();
    });
  }

  #back(name: string): void {
    this.#clock.after(this.#delayMs, () => this.onMark(name));
  }

  /** Plays a millisecond, and goes on while there is something to play. */
  #tick(): void {
    this.#isPlaying = this.#buffer.length > 0;
    if (!this.#isPlaying) return;
    this.#clock.after(1, () => {
      const perMs = Math.round(1 / msOfBytes(this.#format, 1));
      let room = this.isStalled ? 0 : perMs;
      for (let [next] = this.#buffer; next !== undefined; [next] = this.#buffer) {
        if ('mark' in next) this.#back(next.mark);
        else if (room === 0) break;
        else {
          const part = next.audio.subarray(0, room);
          this.played.push(...part);
          room -= part.byteLength;
          if (part.byteLength < next.audio.byteLength) {
            this.#buffer[0] = { audio: next.audio.subarray(part.byteLength) };
            continue;
          }
        }
        this.#buffer.shift();
      }
      this.#tick();
    });
  }
}
