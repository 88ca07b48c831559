import { type AudioFormat, type AudioGap, MediaTimeline, SpeechQueue } from '@spillway/core/audio';

/** Who hears gets more while its socket holds less than this. */
const maxSocketMs = 200;
/**
 * And while less than this is out to it without a sign that it arrived, the longest way there and back, and some: an operating system
 * takes minutes of audio.
 */
const maxUnconfirmedMs = 1000;

/** Whether somebody takes more audio now. */
export function takesMore({ bufferedMs, unconfirmedMs }: Omit<Listener, 'send'>): boolean {
  return bufferedMs < maxSocketMs && unconfirmedMs < maxUnconfirmedMs;
}

/** Where the caller's audio goes. */
export interface Listener {
  readonly bufferedMs: number;
  readonly unconfirmedMs: number;
  send(audio: Uint8Array): void;
}

/** How the caller's audio waits. */
export interface MouthOptions {
  readonly format: AudioFormat;
  /** Audio that may wait while the model is not ready. */
  readonly maxEarlyMs: number;
  /** Audio that may wait for a model that is. */
  readonly maxLateMs: number;
  readonly onGap: (gap: AudioGap) => void;
  readonly onMissing: (atMs: number, ms: number) => void;
}

/**
 * What the caller says, on its way to the model: put on its own clock, held while the model is not ready or its socket takes
 * nothing, and bounded in milliseconds either way.
 */
export class Mouth {
  readonly #options: MouthOptions;
  readonly #timeline: MediaTimeline;
  #queue: SpeechQueue;
  #isEarly = true;
  #listener: Listener | undefined;

  constructor(options: MouthOptions) {
    this.#options = options;
    this.#timeline = new MediaTimeline(options.format);
    this.#queue = this.#open(options.maxEarlyMs);
  }

  /** Audio that waits, in milliseconds. */
  get waitingMs(): number {
    return this.#queue.waitingMs;
  }

  /** Takes audio from the carrier. Audio that came twice is left out. */
  hear(timestampMs: number, audio: Uint8Array): void {
    const placed = this.#timeline.place(timestampMs, audio);
    if (placed.missingMs > 0) this.#options.onMissing(timestampMs - placed.missingMs, placed.missingMs);
    for (const one of placed.audio) this.#queue.push(one);
    this.drain();
  }

  /** The model takes audio from now on: first what has waited. */
  listen(listener: Listener): void {
    this.#listener = listener;
    this.drain();
  }

  /** The model takes nothing until `listen` is called again: as before the first one, more may wait. */
  wait(): void {
    this.#listener = undefined;
    if (this.#isEarly) return;
    this.#isEarly = true;
    const late = this.#queue;
    this.#queue = this.#open(this.#options.maxEarlyMs);
    for (let next = late.take(); next !== undefined; next = late.take()) this.#queue.push(next);
  }

  /** The call is over: nothing waits. */
  close(): void {
    this.#listener = undefined;
    this.#queue = this.#open(this.#options.maxLateMs);
  }

  /** Gives to the model what its socket takes and what arrives. */
  drain(): void {
    const listener = this.#listener;
    if (listener === undefined) return;
    while (takesMore(listener)) {
      const next = this.#queue.take();
      if (next === undefined) {
        this.#useLateQueue();
        return;
      }
      listener.send(next.audio);
    }
  }

  /** What waited for the model to be ready is gone: from now on, less may wait. */
  #useLateQueue(): void {
    if (!this.#isEarly) return;
    this.#isEarly = false;
    this.#queue = this.#open(this.#options.maxLateMs);
  }

  #open(maxMs: number): SpeechQueue {
    const { format, onGap } = this.#options;
    return new SpeechQueue({ format, maxMs, onGap });
  }
}
