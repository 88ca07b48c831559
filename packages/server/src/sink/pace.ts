import type { ReadLink } from './link.ts';

/**
 * A link counts as slow when its oldest write is on its way for this much longer than the empty link's round trip.
 * The value is above the usual delay of an acknowledgement (40 ms on Linux and Windows), and below what a reader
 * notices.
 */
const freshSlackMs = 80;
/** The slack of a link that has kept up for {@link steadyAfterMs}: radio links have such short delays. */
const steadySlackMs = 250;
/** A link that has kept up for so long counts as steady. */
const steadyAfterMs = 5000;
/**
 * An acknowledgement may be later than a round trip by this, because the other side may delay it. A slow link's queue
 * starts above that.
 */
const ackSlackMs = 60;
/** How long a slow link keeps the longest gap before a shorter gap is tried. Doubles with each failure. */
const minDwellMs = 2000;
const maxDwellMs = 30_000;
/** How long each shorter gap has to work before the next shorter one. */
const stepMs = 1000;
/** A gap shorter than this becomes 0. */
const minGapMs = 20;
/** Writes within this time share a mark, so that marks of a fast link cost little memory. */
const markMs = 10;
/**
 * How long writes get no mark after a look found that everything has arrived. A link that keeps up is then looked at
 * a few times a second at most. A steady link has the longer rest. The first looks have no rest between them.
 */
const freshRestMs = 100;
const steadyRestMs = 400;
const eagerLooks = 3;
/** The round trip that is assumed while a link's own is unknown. */
const assumedRttMs = 100;
/** The longest gap between two writes to a slow link. Shorter gaps test whether the link is still slow. */
const maxGapMs = 120;
/** The least time between two looks at a queue that has to empty. */
const minPollMs = 10;
const maxPollMs = 250;

/**
 * Decides when a reader may be written to next. Chunks should wait in the channel, where they can be merged, and not
 * in a kernel or a modem, where they cannot.
 *
 * A link that keeps up never waits. A link whose oldest write is on its way for much longer than the empty link's
 * round trip has a queue. From then on, a write follows when the one before has arrived, and not sooner than the gap.
 * When that works for a while, the gap is halved, down to 0. The first sign of a queue brings back the longest gap,
 * for twice as long as before.
 */
export class Pace {
  /** How often the link was found slow. */
  slowdowns = 0;
  readonly #readLink: ReadLink;
  /** Writes that may not have arrived, oldest first: the time, and the connection's bytes after the write. */
  readonly #marks: { readonly atMs: number; bytes: number }[] = [];
  /** The looks in a row which found that everything had arrived. `#restUntilMs`: when writes get marks again. */
  #cleanLooks = 0;
  #restUntilMs = 0;
  #minRttMs: number | undefined;
  #lastWriteMs = Number.NEGATIVE_INFINITY;
  /** The present gap between writes; 0: the link keeps up. */
  #gapMs = 0;
  /** When the gap last changed, or a queue was last seen. */
  #sinceMs: number | undefined;
  #dwellMs = minDwellMs;

  constructor(readLink: ReadLink) {
    this.#readLink = readLink;
  }

  /** The bytes of the connection that have arrived; `undefined`: unknown. */
  get ackedBytes(): number | undefined {
    return this.#readLink()?.ackedBytes;
  }

  /**
   * How long to wait before the next write; 0: write now. Ask again after that time. Do not ask when the stream has
   * ended: a wait gains nothing then.
   */
  delayMs(nowMs: number): number {
    this.#sinceMs ??= nowMs;
    if (this.#gapMs === 0) {
      const isSteady = nowMs - this.#sinceMs >= steadyAfterMs;
      if (!this.#hasQueue(nowMs, isSteady ? steadySlackMs : freshSlackMs)) return 0;
      // A link that is slow again soon after the gap reached 0 has not changed.
      this.#dwellMs = isSteady || this.slowdowns === 0 ? minDwellMs : this.#longerDwellMs();
      this.slowdowns += 1;
      this.#setGap(nowMs, maxGapMs);
    }
    const gapLeftMs = this.#lastWriteMs + this.#gapMs - nowMs;
    if (gapLeftMs > 0) return gapLeftMs;
    if (this.#hasQueue(nowMs, ackSlackMs)) {
      if (this.#gapMs < maxGapMs) this.#dwellMs = this.#longerDwellMs();
      this.#setGap(nowMs, maxGapMs);
      return Math.min(maxPollMs, Math.max(minPollMs, this.#oldestAgeMs(nowMs) / 8));
    }
    if (nowMs - this.#sinceMs >= (this.#gapMs === maxGapMs ? this.#dwellMs : stepMs)) {
      this.#setGap(nowMs, this.#gapMs / 2 < minGapMs ? 0 : this.#gapMs / 2);
    }
    return 0;
  }

  /** Call this after each write, with the bytes of the whole connection so far. */
  wrote(nowMs: number, bytes: number): void {
    this.#lastWriteMs = nowMs;
    if (nowMs < this.#restUntilMs) return;
    const newest = this.#marks.at(-1);
    if (newest !== undefined && nowMs - newest.atMs < markMs) newest.bytes = bytes;
    else this.#marks.push({ atMs: nowMs, bytes });
  }

  #setGap(nowMs: number, gapMs: number): void {
    this.#gapMs = gapMs;
    this.#sinceMs = nowMs;
  }

  #longerDwellMs(): number {
    return Math.min(2 * this.#dwellMs, maxDwellMs);
  }

  #oldestAgeMs(nowMs: number): number {
    const [oldest] = this.#marks;
    return oldest === undefined ? 0 : nowMs - oldest.atMs;
  }

  /**
   * Notes that the link has no queue, and may skip marks for a while. Later marks count all bytes, so none are
   * missed.
   */
  #rest(nowMs: number): void {
    this.#cleanLooks += 1;
    if (this.#cleanLooks <= eagerLooks) return;
    this.#marks.length = 0;
    const isSteady = nowMs - (this.#sinceMs ?? nowMs) >= steadyAfterMs;
    this.#restUntilMs = nowMs + (isSteady ? steadyRestMs : freshRestMs);
  }

  /** Whether the link has a queue. Asks the kernel only if the marks do not exclude one: a few times a second at most. */
  #hasQueue(nowMs: number, slackMs: number): boolean {
    if (this.#oldestAgeMs(nowMs) <= (this.#minRttMs ?? 0) + slackMs) return false;
    const link = this.#readLink();
    if (link === undefined) {
      this.#marks.length = 0;
      return false;
    }
    let arrived = 0;
    for (const mark of this.#marks) {
      if (mark.bytes > link.ackedBytes) break;
      arrived += 1;
    }
    const newest = this.#marks[arrived - 1];
    if (link.minRttMs !== undefined) this.#minRttMs = link.minRttMs;
    else if (newest !== undefined)
      this.#minRttMs = Math.min(this.#minRttMs ?? assumedRttMs, link.atMs - newest.atMs);
    this.#marks.splice(0, arrived);
    const hasQueue = this.#oldestAgeMs(link.atMs) > (this.#minRttMs ?? assumedRttMs) + slackMs;
    if (hasQueue || this.#gapMs > 0) this.#cleanLooks = 0;
    else this.#rest(link.atMs);
    return hasQueue;
  }
}
