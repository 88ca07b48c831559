import { type AudioFormat, bytesOfMs, msOfBytes } from './audio-format.ts';

/** One piece of what a model says: a content part of an item of its conversation. */
export interface SpokenPart {
  /** The item's id at the model. */
  readonly itemId: string;
  /** The number of the part in its item: 0, 1, … */
  readonly contentIndex: number;
}

/** How much of a part was heard. 0 ≤ `heardMs` ≤ `sentMs` always. */
export interface HeardPart extends SpokenPart {
  /** What has been played of the part, in milliseconds, with fractions: what marks say, and since then the clock. */
  readonly heardMs: number;
  /** What has been sent of the part. */
  readonly sentMs: number;
}

/**
 * What a mark that came back says. `played`: all before it was heard, and `heard` has the parts that ended there. `cleared`:
 * it is of before a `clear`, and says nothing. `unknown`: no mark with this name is out.
 */
export type ReturnedMark =
  | { readonly meaning: 'cleared' | 'unknown' }
  | { readonly meaning: 'played'; readonly heard: readonly SpokenPart[] };

/** The audio of one part that was sent. Positions are bytes since the call began. */
interface Segment {
  readonly part: SpokenPart;
  readonly start: number;
  end: number;
  isEnded: boolean;
}

/**
 * What was sent to an ear, and what the ear has confirmed as played. Pure bookkeeping: it sends nothing and has no clock of
 * its own. The audio of a part is sent in one run.
 *
 * A mark is a name that is sent behind audio and comes back when that audio has been played. Only marks confirm; between two
 * of them the clock guesses. What is heard is what will have been, when a word that is sent now reaches the ear: so the way there
 * and back is added, as it was measured from the first audio after a silence to its marks. The guess never passes the next
 * mark that is out by more than that. So it is wrong by no more than the distance of two marks, on a way that is even.
 *
 * `clear` ends a generation: what was not played is forgotten, and marks of before count no more. A carrier sends those
 * back, too, when it empties its buffer, and they look like any other; so a mark's name begins with its generation.
 */
export class PlayoutLedger {
  readonly #format: AudioFormat;
  /** The marks that are out, in order. */
  readonly #marks: { readonly name: string; readonly position: number }[] = [];
  /** What is not known to be heard to its end, in order. */
  #segments: Segment[] = [];
  #generation = 0;
  #nextMark = 0;
  #sent = 0;
  #played = 0;
  /** Where the audio after the last silence begins, and when it was sent. */
  #begin = 0;
  #begunAtMs = 0;
  /** Where the clock counts from: the last mark of that audio that came back, and when; before the first one, its begin. */
  #from = 0;
  #fromAtMs = 0;
  /** The shortest time that audio and its mark have taken on their way there and back. `undefined`: no mark has come. */
  #wayMs: number | undefined;

  /** @param format of the audio at the ear. Durations are those of its bytes. */
  constructor(format: AudioFormat) {
    this.#format = format;
  }

  /** What was sent and is not confirmed, in milliseconds: at most so much is still to be heard. */
  get unconfirmedMs(): number {
    return msOfBytes(this.#format, this.#sent - this.#played);
  }

  /** What was sent behind the last mark, in milliseconds. */
  get unmarkedMs(): number {
    return msOfBytes(this.#format, this.#sent - (this.#marks.at(-1)?.position ?? this.#played));
  }

  /** How many marks are out. */
  get marksOut(): number {
    return this.#marks.length;
  }

  /** Notes that audio of a part was sent. */
  sent(part: SpokenPart, bytes: number, nowMs: number): void {
    const last = this.#segments.at(-1);
    const start = this.#sent;
    this.padded(bytes, nowMs);
    if (last !== undefined && !last.isEnded && isSame(last.part, part)) last.end = this.#sent;
    else {
      if (last !== undefined) last.isEnded = true;
      this.#segments.push({ part, start, end: this.#sent, isEnded: false });
    }
  }

  /** Notes that audio of no part was sent, such as the silence that fills a frame. */
  padded(bytes: number, nowMs: number): void {
    // By the clock, the ear had nothing to play any more.
    if (this.#from + this.#bytesSince(nowMs) >= this.#sent) {
      this.#begin = this.#sent;
      this.#begunAtMs = nowMs;
      this.#from = this.#sent;
      this.#fromAtMs = nowMs;
    }
    this.#sent += bytes;
  }

  /** Notes that the part that was sent last has no more audio. */
  ended(): void {
    const last = this.#segments.at(-1);
    if (last !== undefined) last.isEnded = true;
  }

  /** Returns the name of a mark that stands behind all that was sent. The caller sends it. */
  mark(): string {
    const name = `${this.#generation}.${this.#nextMark}`;
    this.#nextMark += 1;
    this.#marks.push({ name, position: this.#sent });
    return name;
  }

  /** Takes a mark that came back. The earlier ones that are out are confirmed with it. */
  returned(name: string, nowMs: number): ReturnedMark {
    const index = this.#marks.findIndex((mark) => mark.name === name);
    const mark = this.#marks[index];
    if (mark === undefined) return { meaning: isOfBefore(name, this.#generation) ? 'cleared' : 'unknown' };
    this.#marks.splice(0, index + 1);
    this.#played = mark.position;
    if (mark.position > this.#begin) {
      this.#from = mark.position;
      this.#fromAtMs = nowMs;
      const wayMs = nowMs - this.#begunAtMs - msOfBytes(this.#format, mark.position - this.#begin);
      // Where the ear stood still meanwhile, it seems longer. A mark that comes too soon says nothing.
      this.#wayMs = Math.max(0, Math.min(wayMs, this.#wayMs ?? wayMs));
    }
    const isHeard = ({ end, isEnded }: Segment): boolean => isEnded && end <= this.#played;
    const heard = this.#segments.filter(isHeard).map(({ part }) => part);
    this.#segments.splice(0, heard.length);
    return { meaning: 'played', heard };
  }

  /**
   * The parts that have begun and are not known to be heard to their end, in order. Also one that has no end yet, of which
   * all was heard that was sent.
   */
  unheard(nowMs: number): readonly HeardPart[] {
    const position = this.#positionAt(nowMs);
    return this.#segments.map(({ part: { itemId, contentIndex }, start, end }) => ({
      itemId,
      contentIndex,
      heardMs: msOfBytes(this.#format, Math.min(Math.max(position - start, 0), end - start)),
      sentMs: msOfBytes(this.#format, end - start),
    }));
  }

  /** Forgets what was not played, and begins a generation. Marks that are out are `cleared` from now on. */
  clear(): void {
    this.#generation += 1;
    this.#nextMark = 0;
    this.#marks.length = 0;
    this.#segments = [];
    this.#played = this.#sent;
    this.#begin = this.#sent;
    this.#from = this.#sent;
  }

  /** What the clock says was played since the place that it counts from. */
  #bytesSince(nowMs: number): number {
    return bytesOfMs(this.#format, Math.max(0, nowMs - this.#fromAtMs));
  }

  /** The place that will have been heard when a word from here reaches the ear. */
  #positionAt(nowMs: number): number {
    const way = bytesOfMs(this.#format, this.#wayMs ?? 0);
    const limit = Math.min((this.#marks[0]?.position ?? this.#sent) + way, this.#sent);
    // After a silence the word is behind the audio by as much as it was sent later: the way is the same for both.
    const isBegin = this.#from === this.#begin;
    return Math.max(
      this.#played,
      Math.min(this.#from + this.#bytesSince(nowMs) + (isBegin ? 0 : way), limit),
    );
  }
}

/** Whether two are the same part. */
export function isSame(one: SpokenPart, other: SpokenPart): boolean {
  return one.itemId === other.itemId && one.contentIndex === other.contentIndex;
}

/** Whether a name is one of ours, of an earlier generation. */
function isOfBefore(name: string, generation: number): boolean {
  const match = /^(\d{1,9})\.\d{1,9}$/.exec(name);
  return match !== null && Number(match[1]) < generation;
}
