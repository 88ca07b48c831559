import type { Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { frameOverheadBytes } from '@spillway/core/session';
import type { LargeRun } from '../memory/large-run.ts';
import { LargeRuns } from '../memory/large-runs.ts';
import { Bookmarks } from './bookmarks.ts';
import { type EndedReader, endedReader, maxEndedReaders } from './ended-reader.ts';
import type { StallCause } from './meter.ts';
import type { StreamLog } from './stream-log.ts';
import type { ReaderEndReason, ServedReader } from './served-reader.ts';
import type { TapReader } from './tap-reader.ts';

/** A stream, as far as its audience needs it. */
interface ReadByMany {
  readonly log: StreamLog | undefined;
  /** The bytes that may wait for a reader that has no bound of its own. */
  readonly windowBytes: number;
}

/**
 * All readers, visitors, taps and bookmarks of one stream. Keeps what they share: the smallest bound, and large
 * events.
 */
export class Audience {
  readonly readers = new Set<ServedReader>();
  /** Cursors of requests that take the chunks of one answer (catch-up and long-poll), and may wait for them. */
  readonly visitors = new Set<Reader<EventRun>>();
  /** The operator's taps, beside the readers. */
  readonly taps = new Set<TapReader>();
  readonly bookmarks = new Bookmarks(() => this.boundRuns());
  /** What became of the readers that are gone, for people: the latest {@link maxEndedReaders}. */
  readonly ended: EndedReader[] = [];
  /**
   * The bytes that one run of several events may have in the channel: the smallest bound of a reader, tap or
   * bookmark.
   */
  maxRunBytes = Infinity;
  /** The tokens that were written to one of the readers that are gone, or lost by its policy: the most of any. */
  mostTokens = 0;
  readonly #stream: ReadByMany;
  readonly #large = new LargeRuns();

  constructor(stream: ReadByMany) {
    this.#stream = stream;
  }

  add(reader: ServedReader): void {
    this.readers.add(reader);
    this.boundRuns();
  }

  remove(reader: ServedReader): void {
    this.readers.delete(reader);
    this.mostTokens = Math.max(this.mostTokens, reader.tokens + reader.lostTokens);
    this.boundRuns();
    this.releaseLarge();
  }

  /** A reader is gone, and will not be served again. */
  noteEnd(reader: ServedReader, reason: ReaderEndReason, atMs: number): EndedReader {
    const ended = endedReader(reader, reason, atMs);
    this.ended.push(ended);
    if (this.ended.length > maxEndedReaders) this.ended.shift();
    return ended;
  }

  /** Call this when a bound may have changed. */
  boundRuns(): void {
    let smallest = Math.min(this.#stream.windowBytes, this.bookmarks.maxRunBytes);
    for (const { maxRunBytes } of this.readers) smallest = Math.min(smallest, maxRunBytes);
    for (const { maxRunBytes } of this.taps) smallest = Math.min(smallest, maxRunBytes);
    this.maxRunBytes = Math.max(1, smallest - frameOverheadBytes);
  }

  /** The reader for which most bytes wait. */
  get slowest(): ServedReader | undefined {
    let slowest: ServedReader | undefined;
    for (const reader of this.readers) {
      if (slowest === undefined || reader.waitingBytes > slowest.waitingBytes) slowest = reader;
    }
    return slowest;
  }

  /** The tap for which most bytes wait. */
  get slowestTap(): TapReader | undefined {
    let slowest: TapReader | undefined;
    for (const tap of this.taps) {
      if (slowest === undefined || tap.waitingBytes > slowest.waitingBytes) slowest = tap;
    }
    return slowest;
  }

  /** The reader or tap for which most bytes wait, and the cause. The model waits for this one, if it has to wait. */
  get waitsFor(): { readonly cause: StallCause | undefined; readonly reader: number | null } {
    const { slowest, slowestTap } = this;
    const isTap = (slowestTap?.waitingBytes ?? 0) > (slowest?.waitingBytes ?? 0);
    return isTap
      ? { cause: 'tap', reader: null }
      : { cause: slowest?.waitsFor, reader: slowest?.number ?? null };
  }

  /** Whether no reader is left, and no tap for which alone the model would go on. */
  get isEmpty(): boolean {
    for (const { isAudience } of this.taps) if (isAudience) return false;
    return this.readers.size === 0;
  }

  addTap(tap: TapReader): void {
    this.taps.add(tap);
    this.boundRuns();
  }

  removeTap(tap: TapReader): void {
    this.taps.delete(tap);
    this.boundRuns();
    this.releaseLarge();
  }

  /** Whether no reader and no tap needs anything more from the channel. */
  get hasGotAll(): boolean {
    if (this.taps.size > 0) return false;
    for (const { response } of this.readers) if (!response.isDelivered) return false;
    return true;
  }

  /** The channel's newest chunk is a large event. It keeps its place in EventMemory until every cursor has passed it. */
  keepLarge(run: LargeRun): void {
    const { nextOffset = 0 } = this.#stream.log ?? {};
    this.#large.keep(run, nextOffset - 1);
    this.releaseLarge();
  }

  /** Releases the large events that every cursor has passed. Call this when a cursor has moved or is gone. */
  releaseLarge(): void {
    if (this.#large.isEmpty) return;
    const { oldestOffset = 0 } = this.#stream.log ?? {};
    this.#large.releaseUnless((offset) => {
      for (const reader of this.readers) if (reader.awaits(offset, oldestOffset)) return true;
      for (const tap of this.taps) if (tap.awaits(offset, oldestOffset)) return true;
      if (this.bookmarks.awaits(offset)) return true;
      for (const { end, offset: next } of this.visitors) if (end === undefined && offset >= next) return true;
      return false;
    });
  }

  /** Ends all bookmarks: no reader can come back to them any more. */
  forgetBookmarks(): void {
    this.bookmarks.clear();
    this.releaseLarge();
  }
}
