import type { ReadLink } from './link.ts';

/**
 * How much longer than the empty link's round trip the oldest write may be on its way before the link counts
 * as slow. Above any usual delay of an acknowledgement (40 ms on Linux and Windows), below what a reader
 * notices.
 */
const freshSlackMs = 80;
/** The same for a link that has kept up for {@link steadyAfterMs}: radio links have such moments. */
const steadySlackMs = 250;
/** A link that kept up for so long has shown that it does. */
const steadyAfterMs = 5000;
/** How much later than a round trip an acknowledgement may come without saying anything: it may be delayed. */
const ackSlackMs = 60;
/** How long a slow link is written to at the longest gap before a shorter one is tried; doubles with each failure. */
const minDwellMs = 2000;
const maxDwellMs = 30_000;
/** How long each shorter gap has to work before the next. */
const stepMs = 1000;
/** A gap shorter than this is none. */
const minGapMs = 20;
/** Writes within this time share a mark, so that a link of any speed costs little memory. */
const markMs = 10;
/**
 * How long no write is marked after it was seen that everything has arrived, so that a link that keeps up is looked
 * at a few times a second at most: longer for one that has shown it. The first looks follow each other at once.
 */
const freshRestMs = 100;
const steadyRestMs = 400;
const eagerLooks = 3;
/** Of a link whose round trip is not known yet. */
const assumedRttMs = 100;
/** The time between two writes to a link that is slow; shorter while it is found out whether it still is. */
const maxGapMs = 120;
/** How often a queue that has to empty is looked at. */
const minPollMs = 10;
const maxPollMs = 250;

/**
 * Says when a reader may be written to next, so that what waits, waits in the channel, where it can be
 * merged, and not in a kernel or a modem, where it cannot.
 *
 * A link that keeps up is never made to wait. One whose oldest write is on its way for much longer than a
 * round trip of the empty link has a queue: from then on, a write follows when the one before has arrived,
 * and not sooner than the gap. When that goes well for a while the gap is halved, down to none; the first
 * sign of a queue takes the longest gap again, for twice as long as before.
 */
export class Pace {
  /** How often the link was found to be slow. */
  slowdowns = 0;
  readonly #readLink: ReadLink;
  /** Writes that are not known to have arrived, oldest first: when, and the connection's bytes after it. */
  readonly #marks: { readonly atMs: number; bytes: number }[] = [];
  /** Looks in a row that found that everything had arrived, and when the next write is marked again. */
  #cleanLooks = 0;
  #restUntilMs = 0;
  #minRttMs: number | undefined;
  #lastWriteMs = Number.NEGATIVE_INFINITY;
  /** 0: the link keeps up. */
  #gapMs = 0;
  /** When the gap last changed, or a queue was last seen. */
  #sinceMs: number | undefined;
  #dwellMs = minDwellMs;

  constructor(readLink: ReadLink) {
    this.#readLink = readLink;
  }

  /** The bytes of the connection that have arrived; `undefined` if nothing is known of it. */
  get ackedBytes(): number | undefined {
    return this.#readLink()?.ackedBytes;
  }

  /**
   * How long to wait before the next write; 0: write now. Ask again after that time. Do not ask when the
   * stream has ended: waiting gains nothing then.
   */
  delayMs(nowMs: number): number {
    this.#sinceMs ??= nowMs;
    if (this.#gapMs === 0) {
      const isSteady = nowMs - this.#sinceMs >= steadyAfterMs;
      if (!this.#hasQueue(nowMs, isSteady ? steadySlackMs : freshSlackMs)) return 0;
      // Slow again soon after the shortest gap worked: the link has not changed.
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

  /** To be called after each write, with the bytes of the whole connection so far. */
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

  /** The link has no queue. What is still on its way is seen by the next mark, too: marks count all bytes. */
  #rest(nowMs: number): void {
    this.#cleanLooks += 1;
    if (this.#cleanLooks <= eagerLooks) return;
    this.#marks.length = 0;
    const isSteady = nowMs - (this.#sinceMs ?? nowMs) >= steadyAfterMs;
    this.#restUntilMs = nowMs + (isSteady ? steadyRestMs : freshRestMs);
  }

  /** Looks at the link only if what was known before does not rule a queue out: a few times a second at most. */
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
