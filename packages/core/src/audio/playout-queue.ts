import { type AudioFormat, bytesOfMs, silence } from './audio-format.ts';
import { levelOf } from './level.ts';
import { isSame, type SpokenPart } from './playout-ledger.ts';

/** A whole frame: audio of one part, and silence behind it if it is the part's last one. */
export interface PlayoutFrame {
  readonly part: SpokenPart;
  readonly bytes: Uint8Array;
  /** The bytes of the part; the rest is silence. 0: the part had ended with the frame before. */
  readonly ofPart: number;
  readonly isLast: boolean;
}

/** The audio of one part that waits. */
interface Run {
  readonly part: SpokenPart;
  readonly pieces: Uint8Array[];
  bytes: number;
  hasEnded: boolean;
}

/** A pause between two sentences is at least so long, in milliseconds. */
const pauseMs = 160;
/** Audio is quieter than this in a pause: −46 dB of full scale. */
const pauseLevel = 0.005;
/** A pause is looked for in so much of what waits. */
const searchedMs = 10_000;

/** Audio that waits to be sent to an ear, as whole frames. A frame that lies within one piece is not copied. */
export class PlayoutQueue {
  readonly #format: AudioFormat;
  readonly #frameBytes: number;
  #runs: Run[] = [];
  /** Bytes that wait. */
  bytes = 0;

  constructor(format: AudioFormat, frameMs: number) {
    this.#format = format;
    this.#frameBytes = bytesOfMs(format, frameMs);
  }

  /** The parts that wait, in order. */
  get parts(): readonly SpokenPart[] {
    return this.#runs.map(({ part }) => part);
  }

  add(part: SpokenPart, audio: Uint8Array): void {
    const last = this.#runs.at(-1);
    const run: Run =
      last !== undefined && !last.hasEnded && isSame(last.part, part)
        ? last
        : { part, pieces: [], bytes: 0, hasEnded: false };
    if (run !== last) {
      // A part that follows is an end, too.
      if (last !== undefined) last.hasEnded = true;
      this.#runs.push(run);
    }
    run.pieces.push(audio);
    run.bytes += audio.byteLength;
    this.bytes += audio.byteLength;
  }

  /** Notes that a part has no more audio. */
  end(part: SpokenPart): void {
    const last = this.#runs.at(-1);
    if (last !== undefined && isSame(last.part, part)) last.hasEnded = true;
    // All of it was taken: its last frame has nothing of it.
    else this.#runs.push({ part, pieces: [], bytes: 0, hasEnded: true });
  }

  /** Puts audio of a part back before all that waits. */
  putBack(part: SpokenPart, audio: Uint8Array, hasEnded: boolean): void {
    const [first] = this.#runs;
    this.bytes += audio.byteLength;
    if (first !== undefined && isSame(first.part, part)) {
      first.pieces.unshift(audio);
      first.bytes += audio.byteLength;
    } else this.#runs.unshift({ part, pieces: [audio], bytes: audio.byteLength, hasEnded });
  }

  /** Whether a frame can be taken: it is whole, or its part has ended. */
  get hasFrame(): boolean {
    const [first] = this.#runs;
    return first !== undefined && (first.hasEnded || first.bytes >= this.#frameBytes);
  }

  /** Takes a frame; there has to be one. */
  take(): PlayoutFrame {
    const [run] = this.#runs;
    if (run === undefined) throw new TypeError('No frame waits.');
    const ofPart = Math.min(run.bytes, this.#frameBytes);
    const bytes = this.#takeBytes(run, ofPart);
    const isLast = run.hasEnded && run.bytes === 0;
    if (run.bytes === 0) this.#runs.shift();
    return { part: run.part, bytes, ofPart, isLast };
  }

  clear(): void {
    this.#runs = [];
    this.bytes = 0;
  }

  /**
   * Ends the part that came last at the last pause in what waits of it, so that it ends with a sentence; where it ends now,
   * if it has no pause. Returns the bytes that were dropped.
   */
  cutAtPause(): number {
    const run = this.#runs.at(-1);
    if (run === undefined) return 0;
    run.hasEnded = true;
    const audio = joined(run.pieces, run.bytes);
    const pause = bytesOfMs(this.#format, pauseMs);
    const step = bytesOfMs(this.#format, pauseMs / 4);
    const first = Math.max(pause, audio.byteLength - bytesOfMs(this.#format, searchedMs));
    for (let end = audio.byteLength; end >= first; end -= step) {
      if (levelOf(this.#format, audio.subarray(end - pause, end)) >= pauseLevel) continue;
      const dropped = audio.byteLength - end;
      run.pieces.splice(0, run.pieces.length, audio.subarray(0, end));
      run.bytes -= dropped;
      this.bytes -= dropped;
      return dropped;
    }
    return 0;
  }

  /** Takes bytes from the head of a run, filled up with silence to a frame. */
  #takeBytes(run: Run, count: number): Uint8Array {
    const [first] = run.pieces;
    run.bytes -= count;
    this.bytes -= count;
    if (first !== undefined && count === this.#frameBytes && first.byteLength > count) {
      run.pieces[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    const frame = silence(this.#format, this.#frameBytes);
    let done = 0;
    for (let filled = 0; filled < count;) {
      const piece = run.pieces[done];
      if (piece === undefined) break;
      const part = piece.subarray(0, count - filled);
      frame.set(part, filled);
      filled += part.byteLength;
      if (part.byteLength < piece.byteLength) run.pieces[done] = piece.subarray(part.byteLength);
      else done += 1;
    }
    run.pieces.splice(0, done);
    return frame;
  }
}

/** All pieces as one. */
function joined(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  const all = new Uint8Array(bytes);
  let filled = 0;
  for (const piece of pieces) {
    all.set(piece, filled);
    filled += piece.byteLength;
  }
  return all;
}
