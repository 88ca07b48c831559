import type { Clock, Timer } from '../clock.ts';
import { invalid } from '../invalid.ts';
import {
  type AudioFormat,
  bytesOfMs,
  checkAudioFormat,
  checkWholeSamples,
  msOfBytes,
} from './audio-format.ts';
import {
  type HeardPart,
  isSame,
  PlayoutLedger,
  type ReturnedMark,
  type SpokenPart,
} from './playout-ledger.ts';
import { type PlayoutFrame, PlayoutQueue } from './playout-queue.ts';

/** Where audio is heard: a carrier's socket, a browser's player. It sends a mark back when the audio before it was played. */
export interface Ear {
  /** Sends one whole frame. */
  send(frame: Uint8Array): void;
  /** Sends a mark behind the audio. */
  mark(name: string): void;
  /** Drops what was sent and not played. */
  clear(): void;
}

/** How audio is played. */
export interface PlayoutOptions {
  /** The ear's format. */
  readonly format: AudioFormat;
  /**
   * Audio that may be on its way to the ear and not be heard yet: 200 to 5,000 ms. It has to be longer than the way to the ear
   * and back by 160 ms, or the ear is starved; what is longer than a second is heard on that much longer. Default: 800.
   */
  readonly windowMs?: number;
  /** Audio that may wait here, beyond the window: how long an answer may be ahead of the ear. Default: 120,000. */
  readonly maxWaitingMs?: number;
  /** Time; handed in by tests. */
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  /** Called when the ear had nothing to play in the middle of a part, with how long it waited. */
  readonly onUnderrun?: (ms: number) => void;
  /**
   * Called when a part is cut because more than `maxWaitingMs` would wait, with how much of it will be heard: 0 or more
   * milliseconds. Called before `write` returns `false`.
   */
  readonly onCut?: (part: SpokenPart, keptMs: number) => void;
  /** Called when a part was heard to its end. */
  readonly onHeard?: (part: SpokenPart) => void;
}

/** What `interrupt` has dropped. */
export interface Interruption {
  /**
   * What was heard of each part that was not heard to its end, in order. `heardMs` of 0: nobody heard anything of it.
   */
  readonly unheard: readonly HeardPart[];
  /** What was on its way to the ear, at most. */
  readonly sentMs: number;
  /** What waited here, and was never sent. */
  readonly waitingMs: number;
}

/** The duration of a frame, in milliseconds. */
const frameMs = 20;
/** Audio between two marks, at most. A window has several of them, so that a late one stops nothing. */
const markEveryMs = 160;

/**
 * Gives a model's speech to an ear no faster than it is heard. A model makes four seconds in 0.6; what the ear's window
 * does not allow waits here, where it can be dropped at once.
 *
 * Two rules bound what is on its way, both always hold: what was sent and not confirmed by a mark ≤ `windowMs`; and by the
 * clock, what the ear has still to play ≤ `windowMs`, so that an ear which confirms too soon gets nothing too soon. The clock is
 * a sum of durations, and not of timers, so that it does not drift: a timer that fires late sends what has become due.
 *
 * @example
 * ```ts
 * import { type Ear, Playout, telephoneAudio } from '@spillway/core/audio';
 * import { systemClock } from '@spillway/core/clock';
 *
 * const ear: Ear = { send: (frame) => console.log(frame.byteLength), mark: (name) => console.log(name), clear() {} };
 * const playout = new Playout(ear, { format: telephoneAudio, clock: systemClock });
 * const part = { itemId: 'item_1', contentIndex: 0 };
 * playout.write(part, new Uint8Array(16_000).fill(0xff)); // two seconds, of which 0.8 are sent
 * playout.end(part);
 * // When the human speaks:
 * for (const { itemId, heardMs } of playout.interrupt().unheard) console.log(`truncate ${itemId} at ${heardMs} ms`);
 * ```
 */
export class Playout {
  readonly #ear: Ear;
  readonly #format: AudioFormat;
  readonly #windowMs: number;
  readonly #maxWaitingBytes: number;
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #onUnderrun: ((ms: number) => void) | undefined;
  readonly #onCut: ((part: SpokenPart, keptMs: number) => void) | undefined;
  readonly #onHeard: ((part: SpokenPart) => void) | undefined;
  readonly #ledger: PlayoutLedger;
  readonly #queue: PlayoutQueue;
  /** The part that was cut, because too much of it waited. */
  #cut: SpokenPart | undefined;
  /** The part that comes, and how much of it was taken. */
  #coming: SpokenPart | undefined;
  #comingBytes = 0;
  #hasComingEnded = false;
  /** The frames that are not confirmed, in order. */
  readonly #kept: PlayoutFrame[] = [];
  /** What was heard of parts before they were held, in milliseconds. */
  readonly #heardBefore = new Map<string, number>();
  #isHeld = false;
  /** When the ear has played all that was sent, by the clock. */
  #endsAtMs = 0;
  /** Whether the part that was sent last goes on: a silence behind it is not meant. */
  #isMidPart = false;
  #timer: Timer | undefined;
  #isClosed = false;

  /** @throws {SpillwayError} `invalid_option` */
  constructor(ear: Ear, options: PlayoutOptions) {
    const { clock, format, maxWaitingMs = 120_000, onCut, onHeard, onUnderrun, windowMs = 800 } = options;
    checkAudioFormat(format);
    if (!(windowMs >= 200 && windowMs <= 5000))
      throw invalid(`windowMs: expected 200 to 5,000 milliseconds, got ${windowMs}.`);
    if (!(maxWaitingMs >= 1000 && maxWaitingMs <= 3_600_000))
      throw invalid(`maxWaitingMs: expected 1,000 to 3,600,000 milliseconds, got ${maxWaitingMs}.`);
    this.#ear = ear;
    this.#format = format;
    this.#windowMs = windowMs;
    this.#maxWaitingBytes = bytesOfMs(format, maxWaitingMs);
    this.#clock = clock;
    this.#onCut = onCut;
    this.#onHeard = onHeard;
    this.#onUnderrun = onUnderrun;
    this.#ledger = new PlayoutLedger(format);
    this.#queue = new PlayoutQueue(format, frameMs);
  }

  /** Audio that waits here for the window, in milliseconds: ≤ `maxWaitingMs` always, and one window more while it is held. */
  get waitingMs(): number {
    return msOfBytes(this.#format, this.#queue.bytes);
  }

  /** Audio that was sent and is not confirmed as played, in milliseconds: ≤ `windowMs` always. */
  get unconfirmedMs(): number {
    return this.#ledger.unconfirmedMs;
  }

  /** Marks that have not come back. */
  get marksOut(): number {
    return this.#ledger.marksOut;
  }

  /** Whether nothing waits, nothing is held, and all that was sent was played. */
  get isIdle(): boolean {
    return !this.#isHeld && this.#queue.bytes === 0 && this.#ledger.unconfirmedMs === 0;
  }

  /**
   * Takes audio of a part. The bytes must not be changed afterwards. The parts come one after the other.
   *
   * Returns `false` when more than `maxWaitingMs` would wait. Then nothing of it is taken, here and later for this part;
   * what waits is cut at its last pause, so that the answer ends with a sentence. The rest of it is to be stopped at the
   * model.
   *
   * @throws {SpillwayError} `invalid_option` for half a sample.
   */
  write(part: SpokenPart, audio: Uint8Array): boolean {
    checkWholeSamples(this.#format, audio);
    if (this.#isClosed || audio.byteLength === 0) return true;
    if (this.#cut !== undefined && isSame(this.#cut, part)) return false;
    if (this.#queue.bytes + audio.byteLength > this.#maxWaitingBytes) {
      this.#cut = part;
      // A part of which nothing was taken has nothing to cut, and the one before it is whole.
      let keptBytes = this.#takenOf(part);
      if (keptBytes > 0) {
        keptBytes -= this.#queue.cutAtPause();
        this.#queue.end(part);
        this.#hasComingEnded = true;
      }
      this.#pump();
      this.#onCut?.(part, msOfBytes(this.#format, keptBytes));
      return false;
    }
    this.#comingBytes = this.#takenOf(part) + audio.byteLength;
    this.#coming = part;
    this.#hasComingEnded = false;
    this.#queue.add(part, audio);
    this.#pump();
    return true;
  }

  /** Says that a part has no more audio: the rest of its last frame is silence, and a mark follows. */
  end(part: SpokenPart): void {
    if (this.#isClosed || (this.#cut !== undefined && isSame(this.#cut, part))) return;
    this.#queue.end(part);
    if (this.#isComing(part)) this.#hasComingEnded = true;
    this.#pump();
  }

  /** Takes a mark that the ear has sent back, and sends what it makes room for. */
  returned(name: string): ReturnedMark['meaning'] {
    const mark = this.#ledger.returned(name, this.#clock.nowMs());
    if (mark.meaning === 'played') {
      this.#forgetPlayed();
      this.#pump();
      for (const part of mark.heard) {
        this.#heardBefore.delete(keyOf(part));
        this.#onHeard?.(part);
      }
    }
    return mark.meaning;
  }

  /** What is heard now of each part that is not known to be heard to its end, in order. */
  get unheard(): readonly HeardPart[] {
    const begun = this.#ledger.unheard(this.#clock.nowMs());
    const waiting = this.#queue.parts
      .filter((part) => !begun.some((one) => isSame(one, part)))
      .map(({ itemId, contentIndex }) => ({ itemId, contentIndex, heardMs: 0, sentMs: 0 }));
    return [...begun, ...waiting].map((one) => {
      const beforeMs = this.#heardBefore.get(keyOf(one)) ?? 0;
      return { ...one, heardMs: one.heardMs + beforeMs, sentMs: one.sentMs + beforeMs };
    });
  }

  /** Drops all that is not heard, here and at the ear, and says what was heard of it. What was held is dropped, too. */
  interrupt(): Interruption {
    const { unheard, unconfirmedMs: sentMs, waitingMs } = this;
    const interruption = { unheard, sentMs, waitingMs };
    this.#forget();
    this.#clearEar();
    this.#heardBefore.clear();
    this.#isHeld = false;
    return interruption;
  }

  /**
   * Silences the ear at once, and keeps what it has not heard, until `release` or `interrupt`: for a noise that may be no
   * speech. What the model says meanwhile waits behind it. Does nothing while it is held.
   */
  hold(): void {
    if (this.#isHeld || this.#isClosed) return;
    this.#isHeld = true;
    this.#timer?.stop();
    this.#timer = undefined;
    for (const { heardMs, sentMs, ...part } of this.#ledger.unheard(this.#clock.nowMs()).toReversed()) {
      const key = keyOf(part);
      this.#heardBefore.set(key, (this.#heardBefore.get(key) ?? 0) + heardMs);
      const frames = this.#kept.filter((frame) => isSame(frame.part, part));
      const unheard = tailOf(frames, bytesOfMs(this.#format, sentMs - heardMs));
      this.#queue.putBack(part, unheard, !this.#isComing(part));
    }
    this.#clearEar();
  }

  /** Goes on with what was held. */
  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#pump();
  }

  /** Drops what waits, sends nothing more, and awaits no mark. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    this.#forget();
    this.#ledger.clear();
    this.#kept.length = 0;
  }

  /** Drops what the ear has and begins anew with it. */
  #clearEar(): void {
    this.#ear.clear();
    this.#ledger.clear();
    this.#kept.length = 0;
    this.#endsAtMs = 0;
    this.#isMidPart = false;
  }

  /** Lets go of the frames that are confirmed. */
  #forgetPlayed(): void {
    let keptMs = msOfBytes(
      this.#format,
      this.#kept.reduce((sum, { bytes }) => sum + bytes.byteLength, 0),
    );
    const { unconfirmedMs } = this.#ledger;
    while (keptMs > unconfirmedMs) {
      const frame = this.#kept.shift();
      if (frame === undefined) return;
      keptMs -= msOfBytes(this.#format, frame.bytes.byteLength);
    }
  }

  /** Whether there may be more of a part. */
  #isComing(part: SpokenPart): boolean {
    return this.#coming !== undefined && isSame(this.#coming, part) && !this.#hasComingEnded;
  }

  #takenOf(part: SpokenPart): number {
    return this.#coming !== undefined && isSame(this.#coming, part) ? this.#comingBytes : 0;
  }

  #forget(): void {
    this.#queue.clear();
    this.#timer?.stop();
    this.#timer = undefined;
  }

  /** Sends what the window allows. */
  #pump(): void {
    if (this.#isHeld) return;
    const nowMs = this.#clock.nowMs();
    while (this.#queue.hasFrame) {
      // What the next mark makes room for.
      if (this.unconfirmedMs + frameMs > this.#windowMs) return;
      const earlyMs = Math.max(this.#endsAtMs, nowMs) + frameMs - this.#windowMs - nowMs;
      if (earlyMs > 0) {
        this.#wakeAfter(earlyMs);
        return;
      }
      this.#send(nowMs);
    }
  }

  #send(nowMs: number): void {
    const frame = this.#queue.take();
    const { bytes, isLast, ofPart, part } = frame;
    if (ofPart > 0) {
      this.#kept.push(frame);
      if (this.#isMidPart && nowMs > this.#endsAtMs) this.#onUnderrun?.(nowMs - this.#endsAtMs);
      this.#ear.send(bytes);
      this.#ledger.sent(part, ofPart, nowMs);
      if (bytes.byteLength > ofPart) this.#ledger.padded(bytes.byteLength - ofPart, nowMs);
      this.#endsAtMs = Math.max(this.#endsAtMs, nowMs) + frameMs;
    } else if (this.#heardBefore.has(keyOf(part))) {
      // All of it was heard before it was held: its end is still to be confirmed.
      this.#ledger.sent(part, 0, nowMs);
    }
    this.#isMidPart = !isLast;
    if (isLast) this.#ledger.ended();
    if (isLast || this.#ledger.unmarkedMs >= markEveryMs) this.#ear.mark(this.#ledger.mark());
  }

  #wakeAfter(ms: number): void {
    this.#timer ??= this.#clock.after(ms, () => {
      this.#timer = undefined;
      this.#pump();
    });
  }
}

/** The last bytes of a part's frames, without the silence that fills them. */
function tailOf(frames: readonly PlayoutFrame[], count: number): Uint8Array {
  const tail = new Uint8Array(count);
  let left = count;
  for (const { bytes, ofPart } of frames.toReversed()) {
    const from = Math.max(0, ofPart - left);
    left -= ofPart - from;
    tail.set(bytes.subarray(from, ofPart), left);
    if (left === 0) break;
  }
  return tail.subarray(left);
}

function keyOf({ contentIndex, itemId }: SpokenPart): string {
  return `${contentIndex}:${itemId}`;
}
