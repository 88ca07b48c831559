import type { Timer } from '@spillway/core/clock';
import type { Defects } from '../defects.ts';
import { asGatewayError, stoppedBefore } from '../errors.ts';
import { RetainedStreams } from '../memory/retained-streams.ts';
import type { Meter } from './meter.ts';
import { RequestMemory } from '../memory/request-memory.ts';
import type { Links } from '../sink/link.ts';
import { GatewayStream } from './stream.ts';
import type { StreamHost } from './stream-host.ts';
import { StreamTokens } from './stream-token.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { Tap } from './tap.ts';
import type { StreamOwner } from './stream-owner.ts';
import type { StreamDeadlines, StreamOutcome } from './stream-body.ts';
import type { ReaderEndReason, ServedReader } from './served-reader.ts';

/** The bounds of all streams together. */
export interface StreamsConfig extends StreamDeadlines {
  /** The bytes that all ended streams together may hold for readers that come back. */
  readonly maxRetainedBytes: number;
  /** The streams that may be open at once. */
  readonly maxStreams: number;
  /** How long a stream that has ended can be read at its URL. */
  readonly retainMs: number;
}

/** Gets events of all streams. */
export interface StreamsObserver {
  /** The stream's first event has come. */
  streamBegan(stream: GatewayStream, ttftMs: number): void;
  readerEnded(reason: ReaderEndReason, reader: ServedReader, stream: GatewayStream): void;
  /** The stream is over, and can be read no more: it is not among the known ones from now on. */
  streamDropped?(stream: GatewayStream): void;
}

export interface StreamsOptions {
  readonly config: StreamsConfig;
  readonly clock: ServerClock;
  readonly meter: Meter;
  readonly defects: Defects;
  /** What readers' connections have not taken yet, as the kernel knows it. */
  readonly links: Pick<Links, 'readQueues'>;
  /** Default: nobody. */
  readonly observer?: StreamsObserver;
  /** What reads every stream beside its readers: asked anew for each, so that taps may come and go. Default: nothing. */
  readonly taps?: Iterable<Tap>;
}

/** All streams that live or can be read again, and the one timer that watches their deadlines. */
export class Streams {
  /** Live and retained streams, by token. */
  readonly #known = new Map<string, GatewayStream>();
  /** The streams of `known` that have ended and have no place of maxStreams. */
  readonly retained: RetainedStreams<GatewayStream>;
  readonly #config: StreamsConfig;
  readonly meter: Meter;
  readonly #taps: Iterable<Tap>;
  readonly #defects: Defects;
  readonly #links: Pick<Links, 'readQueues'>;
  readonly #host: StreamHost<GatewayStream>;
  readonly #clock: ServerClock;
  readonly #timer: Timer;
  readonly #queuesEveryMs: number;
  readonly #observer: StreamsObserver | undefined;
  #queuesReadMs = 0;
  #isTicking = false;
  #onChange: (() => void) | undefined;
  /** Ends the wait of `drainAll`. */
  #onDrained: (() => void) | undefined;

  constructor({ clock, config, defects, links, meter, observer, taps = [] }: StreamsOptions) {
    this.#taps = taps;
    this.#observer = observer;
    this.#clock = clock;
    this.#defects = defects;
    this.#links = links;
    this.#config = config;
    this.retained = new RetainedStreams(config.maxRetainedBytes, (stream) => this.#drop(stream));
    this.meter = meter;
    const pauses = new RequestMemory(Math.max(2, Math.floor(config.maxStreams * pausedPart)));
    this.#host = {
      clock,
      tokens: new StreamTokens(clock),
      meter,
      openPause: ({ holder }) => {
        const pause = pauses.hold(holder);
        return pause.grow(1) ? pause : undefined;
      },
      defect: (where, error) => defects.caught(where, error),
      began: (stream, ttftMs) => observer?.streamBegan(stream, ttftMs),
      readerEnded: (reason, reader, stream) => {
        observer?.readerEnded(reason, reader, stream);
        this.#onChange?.();
      },
      tapEnded: () => this.#onChange?.(),
      delivered: (stream) => {
        const canReturn = this.find(stream.token) !== undefined;
        if (!canReturn || !this.retained.keep(stream)) this.#drop(stream);
      },
    };
    const { detachGraceMs, idleTimeoutMs, keepAliveMs, maxDurationMs, retainMs, stallTimeoutMs } = config;
    // A deadline is checked at least 8 times in its length, and at least once a second.
    const deadlines = [detachGraceMs, idleTimeoutMs, keepAliveMs, maxDurationMs, retainMs, stallTimeoutMs];
    const everyMs = Math.min(1000, Math.max(25, Math.min(...deadlines) / 8));
    this.#timer = clock.every(everyMs, () => void this.#tick());
    // A reader is checked six times in the timeout. So it is ended between 1 and 7/6 of the timeout after its last
    // progress.
    this.#queuesEveryMs = stallTimeoutMs / 6;
  }

  /** The live streams. */
  *[Symbol.iterator](): IterableIterator<GatewayStream> {
    for (const stream of this.#known.values()) if (stream.isLive) yield stream;
  }

  /** The live streams, and ended ones that can still be read. */
  all(): IterableIterator<GatewayStream> {
    return this.#known.values();
  }

  open(owner: StreamOwner): GatewayStream {
    const stream = new GatewayStream(owner, this.#config, this.#host);
    this.#known.set(stream.token, stream);
    for (const tap of this.#taps) stream.tap(tap);
    return stream;
  }

  /** The stream of a URL; `undefined`: there is none, or it is over. */
  find(token: string): GatewayStream | undefined {
    const stream = this.#known.get(token);
    return stream?.hasUrl === true && !this.#isOver(stream, this.#clock.nowMs()) ? stream : undefined;
  }

  /** The provider has finished. The stream can be read for `retainMs` more. */
  ended(stream: GatewayStream, outcome: StreamOutcome): void {
    stream.ended(outcome, this.#clock.nowMs());
    this.#onChange?.();
  }

  /**
   * Whether an ended stream needs its place of maxStreams no more: its readers have everything, or other room holds
   * the rest.
   */
  drain(stream: GatewayStream): boolean {
    return stream.isDelivered || this.retained.drain(stream);
  }

  /** The number of live streams. */
  get liveCount(): number {
    let count = 0;
    for (const stream of this.#known.values()) if (stream.isLive) count += 1;
    return count;
  }

  /**
   * Waits until no stream is live. After the deadline `onDeadline` is called, which by default stops the remaining
   * streams.
   */
  async drainAll(deadlineMs: number, onDeadline = (): void => this.cancelAll()): Promise<void> {
    if (!this.#hasLive) return;
    await new Promise<void>((resolve) => {
      this.#onDrained = resolve;
      this.#onChange = () => {
        if (!this.#hasLive) resolve();
      };
      this.#clock.after(deadlineMs, onDeadline).unref();
    });
    // What a tap has not kept by now nobody gets.
    for (const stream of this.#known.values()) stream.gates.fail(stoppedBefore());
  }

  stopWatching(): void {
    this.#timer.stop();
  }

  /** Stops every live stream. */
  cancelAll(): void {
    const reason = stoppedBefore();
    for (const stream of this) {
      this.#defects.contain('stop of a stream', () => {
        stream.cancel(reason);
        // The process ends, so a lost reader cannot come back to it.
        for (const reader of stream.audience.readers) if (reader.isLost) reader.detach(reason);
        for (const tap of stream.audience.taps) tap.detach();
      });
    }
    // A client that does not take even the last bytes is not waited for.
    if (this.#onDrained !== undefined) this.#clock.after(goodbyeMs, this.#onDrained).unref();
  }

  get #hasLive(): boolean {
    for (const stream of this.#known.values()) if (stream.isLive) return true;
    return false;
  }

  async #tick(): Promise<void> {
    if (this.#isTicking) return;
    this.#isTicking = true;
    try {
      await this.#each((stream) => stream.tick(this.#clock.nowMs()));
      this.#forget(this.#clock.nowMs());
      if (this.#clock.nowMs() - this.#queuesReadMs >= this.#queuesEveryMs && this.#hasLive) {
        this.#queuesReadMs = this.#clock.nowMs();
        const queues = await this.#links.readQueues();
        await this.#each((stream) => {
          if (stream.isLive) stream.checkReaders(this.#clock.nowMs(), queues);
        });
      }
    } catch (error) {
      this.#defects.caught('deadlines of streams', error);
    } finally {
      this.#isTicking = false;
    }
  }

  /** Ends a stream after a defect, which has been reported. */
  #endDefective(stream: GatewayStream): void {
    // The stream was stopped before and failed again, so it is no longer looked at.
    if (stream.signal.aborted) {
      this.#forgetWhole(stream);
      this.retained.forget(stream);
      stream.audience.forgetBookmarks();
    }
    stream.cancel(asGatewayError(undefined));
    for (const reader of stream.audience.readers) reader.detach(asGatewayError(undefined), false);
  }

  /** Looks at all streams, and gives other work a turn after each 256. 10,000 streams in one turn would take 30 ms. */
  async #each(look: (stream: GatewayStream) => void): Promise<void> {
    let looks = 0;
    for (const stream of this.#known.values()) {
      this.#defects.contain(
        'deadlines of a stream',
        () => look(stream),
        () => this.#endDefective(stream),
      );
      looks += 1;
      if (looks % streamsATurn === 0) await this.#nextTurn();
    }
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#clock.nextTurn(resolve));
  }

  /** Drops the streams that ended more than `retainMs` ago. */
  #forget(nowMs: number): void {
    for (const stream of this.#known.values()) {
      if (stream.isDelivered && this.#isOver(stream, nowMs)) this.#drop(stream);
    }
  }

  /**
   * Drops a stream's history: no reader can come back to it. The stream stays known while a reader has not
   * acknowledged everything.
   */
  #drop(stream: GatewayStream): void {
    this.retained.forget(stream);
    stream.forget();
    if (!stream.isLive) this.#forgetWhole(stream);
  }

  #forgetWhole(stream: GatewayStream): void {
    if (!this.#known.delete(stream.token)) return;
    this.#observer?.streamDropped?.(stream);
    stream.forgotten();
  }

  /** Whether the time of the stream's URL is over. A reader that is there by then reads on, and no other can begin. */
  #isOver({ retainedSinceMs }: GatewayStream, nowMs: number): boolean {
    return retainedSinceMs !== undefined && nowMs - retainedSinceMs >= this.#config.retainMs;
  }
}

/** How long the readers of streams that are stopped may take to read the end. */
const goodbyeMs = 500;
/**
 * The part of maxStreams that may be readers which hold back their credit for up to `pauseMs`. One client gets at
 * most two thirds of these.
 */
const pausedPart = 1 / 2;
/** A look at one stream takes 3 µs. */
const streamsATurn = 256;
