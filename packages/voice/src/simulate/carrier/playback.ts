import { bytesOfMs, levelOf, msOfBytes, silence, telephoneAudio } from '@spillway/core/audio';
import type { Clock, Timer } from '@spillway/core/clock';
import type { ClearedAudio, PlayedAudio, ReturnedMark } from './call-record.ts';

/** Twilio keeps ten minutes of what it has still to play. */
const maxBufferedMs = 600_000;
const bytesPerMs = bytesOfMs(telephoneAudio, 1);
/** Audio below this level is silence. */
const audibleLevel = 0.005;

interface WaitingMark {
  readonly name: string;
  readonly arrivedMs: number;
  readonly dueMs: number;
}

/** How a playback is told what it does. */
export interface PlaybackOptions {
  readonly clock: Pick<Clock, 'after'>;
  /** Milliseconds since the call has begun. */
  readonly nowMs: () => number;
  /** Called when a mark goes back. */
  readonly onMark: (name: string) => void;
}

/**
 * What a carrier plays to the human: audio in real time, in the order in which it came, and marks when the audio before them
 * was played. It is a sum of durations and not a run of timers, so that it is exact on any clock.
 */
export class Playback {
  readonly #options: PlaybackOptions;
  /** All that was played, is played and will be played, in order. */
  readonly #pieces: PlayedAudio[] = [];
  readonly #marks: ReturnedMark[] = [];
  readonly #waiting: WaitingMark[] = [];
  /** Of the pieces before `#doneCount`, which were played to their end: what can be heard of them. */
  #doneMs = 0;
  #doneCount = 0;
  #endsAtMs = 0;
  #maxBufferedMs = 0;
  #timer: Timer | undefined;

  constructor(options: PlaybackOptions) {
    this.#options = options;
  }

  /** Audio that is still to be played. */
  get bufferedMs(): number {
    return Math.max(0, this.#endsAtMs - this.#options.nowMs());
  }

  /** The most that there was of it. */
  get maxBufferedMs(): number {
    return this.#maxBufferedMs;
  }

  /** The marks that went back. */
  get marks(): readonly ReturnedMark[] {
    return this.#marks;
  }

  /** What was played until now. */
  played(): readonly PlayedAudio[] {
    const nowMs = this.#options.nowMs();
    return this.#pieces.filter(({ atMs }) => atMs < nowMs).map((piece) => cutAt(piece, nowMs));
  }

  /** What was heard between two moments, and before `untilMs`, which is not after now; silence where nothing was. */
  heardBetween(fromMs: number, toMs: number, untilMs: number): Uint8Array<ArrayBuffer> {
    // Differences of times with fractions are not quite whole.
    const heard = silence(telephoneAudio, Math.max(0, Math.round((toMs - fromMs) * bytesPerMs)));
    const end = Math.min(heard.byteLength, Math.round((untilMs - fromMs) * bytesPerMs));
    // From the end, because what is asked for was played lately.
    for (let index = this.#pieces.length - 1; index >= 0; index -= 1) {
      const piece = this.#pieces[index];
      if (piece === undefined || piece.atMs + piece.ms <= fromMs) break;
      const at = Math.round((piece.atMs - fromMs) * bytesPerMs);
      if (at < end) heard.set(piece.audio.subarray(Math.max(0, -at), end - at), Math.max(0, at));
    }
    return heard;
  }

  /** How much was played until now that is not silence. */
  audibleMs(): number {
    const nowMs = this.#options.nowMs();
    for (
      let piece = this.#pieces[this.#doneCount];
      piece !== undefined && piece.atMs + piece.ms <= nowMs;
      piece = this.#pieces[this.#doneCount]
    ) {
      this.#doneCount += 1;
      if (piece.isAudible) this.#doneMs += piece.ms;
    }
    const current = this.#pieces[this.#doneCount];
    return this.#doneMs + (current?.isAudible === true ? Math.max(0, nowMs - current.atMs) : 0);
  }

  /** When something that is not silence was last played, until now. `undefined`: never. */
  lastAudibleMs(): number | undefined {
    const nowMs = this.#options.nowMs();
    const last = this.#pieces.findLast(({ atMs, isAudible }) => isAudible && atMs < nowMs);
    return last === undefined ? undefined : Math.min(nowMs, last.atMs + last.ms);
  }

  /** Takes audio behind what is there. `false`: it is more than a carrier keeps, and is discarded. */
  add(audio: Uint8Array): boolean {
    const ms = msOfBytes(telephoneAudio, audio.byteLength);
    const nowMs = this.#options.nowMs();
    const atMs = Math.max(this.#endsAtMs, nowMs);
    if (atMs + ms - nowMs > maxBufferedMs) return false;
    const isAudible = levelOf(telephoneAudio, audio) >= audibleLevel;
    this.#pieces.push({ atMs, ms, audio, isAudible });
    this.#endsAtMs = atMs + ms;
    this.#maxBufferedMs = Math.max(this.#maxBufferedMs, this.#endsAtMs - nowMs);
    return true;
  }

  /** Takes a mark: it goes back when all before it was played, at once if nothing is. */
  mark(name: string): void {
    const arrivedMs = this.#options.nowMs();
    this.#waiting.push({ name, arrivedMs, dueMs: this.#endsAtMs });
    this.#giveBack(arrivedMs);
  }

  /** Drops what was not played, and gives all marks back. */
  clear(): ClearedAudio {
    const nowMs = this.#options.nowMs();
    const droppedMs = Math.max(0, this.#endsAtMs - nowMs);
    while ((this.#pieces.at(-1)?.atMs ?? -1) >= nowMs) this.#pieces.pop();
    const current = this.#pieces.pop();
    if (current !== undefined) this.#pieces.push(cutAt(current, nowMs));
    this.#endsAtMs = Math.min(this.#endsAtMs, nowMs);
    for (const mark of this.#waiting.splice(0)) this.#return(mark, nowMs, true);
    this.stop();
    return { atMs: nowMs, droppedMs };
  }

  /** Gives no mark back any more. */
  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  #giveBack(nowMs: number): void {
    for (let [mark] = this.#waiting; mark !== undefined && mark.dueMs <= nowMs; [mark] = this.#waiting) {
      this.#waiting.shift();
      this.#return(mark, nowMs, false);
    }
    const [next] = this.#waiting;
    if (next === undefined) return;
    this.#timer ??= this.#options.clock.after(next.dueMs - nowMs, () => {
      this.#timer = undefined;
      this.#giveBack(this.#options.nowMs());
    });
  }

  #return({ arrivedMs, name }: WaitingMark, returnedMs: number, wasCleared: boolean): void {
    this.#marks.push({ name, arrivedMs, returnedMs, wasCleared });
    this.#options.onMark(name);
  }
}

/** What of a piece was played by a moment. */
function cutAt(piece: PlayedAudio, nowMs: number): PlayedAudio {
  const ms = Math.min(piece.ms, nowMs - piece.atMs);
  if (ms >= piece.ms) return piece;
  return {
    ...piece,
    ms,
    audio: piece.audio.subarray(0, Math.round((piece.audio.byteLength * ms) / piece.ms)),
  };
}
