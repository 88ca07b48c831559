import type { Timer } from '@spillway/core/clock';
import type { Defects } from '../defects.ts';
import { asGatewayError, shuttingDown } from '../errors.ts';
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
import type { ReaderEndReason } from './served-reader.ts';

/** The bounds of all streams together. */
export interface StreamsConfig extends StreamDeadlines {
  /** What all streams that have ended may hold for those who come back. */
  readonly maxRetainedBytes: number;
  /** The streams that may be open at once. */
  readonly maxStreams: number;
  /** How long a stream that has ended can be read at its URL. */
  readonly retainMs: number;
}

/** Who hears of what streams do. */
export interface StreamsObserver {
  /** The first event has come. */
  streamBegan(stream: GatewayStream, ttftMs: number): void;
  readerEnded(reason: ReaderEndReason): void;
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
  /** What reads every stream beside its readers. Default: nothing. */
  readonly taps?: readonly Tap[];
}

/** All streams that live or can be read again, and the one timer that watches their deadlines. */
export class Streams {
  /** By token. */
  readonly #known = new Map<string, GatewayStream>();
  /** Of those, the ones that ended and have no place. */
  readonly retained: RetainedStreams<GatewayStream>;
  readonly #config: StreamsConfig;
  readonly meter: Meter;
  readonly #taps: readonly Tap[];
  readonly #defects: Defects;
  readonly #links: Pick<Links, 'readQueues'>;
  readonly #host: StreamHost<GatewayStream>;
  readonly #clock: ServerClock;
  readonly #timer: Timer;
  readonly #queuesEveryMs: number;
  #queuesReadMs = 0;
  #isTicking = false;
  #onChange: (() => void) | undefined;

  constructor({ clock, config, defects, links, meter, observer, taps = [] }: StreamsOptions) {
    this.#taps = taps;
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
      readerEnded: (reason) => {
        observer?.readerEnded(reason);
        this.#onChange?.();
      },
      delivered: (stream) => {
        const canReturn = this.find(stream.token) !== undefined;
        if (!canReturn || !this.retained.keep(stream)) this.#drop(stream);
      },
    };
    const { detachGraceMs, idleTimeoutMs, keepAliveMs, maxDurationMs, retainMs, stallTimeoutMs } = config;
    // A deadline is met within an eighth of it, or a second.
    const deadlines = [detachGraceMs, idleTimeoutMs, keepAliveMs, maxDurationMs, retainMs, stallTimeoutMs];
    const everyMs = Math.min(1000, Math.max(25, Math.min(...deadlines) / 8));
    this.#timer = clock.every(everyMs, () => void this.#tick());
    // So a reader is let go between one and 7/6 of the timeout after its last progress.
    this.#queuesEveryMs = stallTimeoutMs / 6;
  }

  /** Those for which something is still done. */
  *[Symbol.iterator](): IterableIterator<GatewayStream> {
    for (const stream of this.#known.values()) if (stream.isLive) yield stream;
  }

  /** Those, and those that ended and can be read again. */
  all(): IterableIterator<GatewayStream> {
    return this.#known.values();
  }

  open(owner: StreamOwner): GatewayStream {
    const stream = new GatewayStream(owner, this.#config, this.#host);
    this.#known.set(stream.token, stream);
    for (const tap of this.#taps) stream.tap(tap);
    return stream;
  }

  /** The stream of a URL; `undefined` if there is none (any more). */
  find(token: string): GatewayStream | undefined {
    const stream = this.#known.get(token);
    return stream?.hasUrl === true && !this.#isOver(stream, this.#clock.nowMs()) ? stream : undefined;
  }

  /** The provider's part is over. What it said can be read for a while. */
  ended(stream: GatewayStream, outcome: StreamOutcome): void {
    stream.finish(outcome, this.#clock.nowMs());
    this.#onChange?.();
  }

  /** Whether a stream that has ended needs its place no more: its readers have it, or there is other room for it until then. */
  drain(stream: GatewayStream): boolean {
    return stream.isDelivered || this.retained.drain(stream);
  }

  /** Waits until nothing is done any more; after the deadline what is left is stopped. */
  async drainAll(deadlineMs: number): Promise<void> {
    if (!this.#hasLive) return;
    await new Promise<void>((resolve) => {
      this.#onChange = () => {
        if (!this.#hasLive) resolve();
      };
      this.#clock.after(deadlineMs, () => this.stopAll()).unref();
      // A client that does not even take the goodbye is not waited for.
      this.#clock.after(deadlineMs + goodbyeMs, resolve).unref();
    });
  }

  stopWatching(): void {
    this.#timer.stop();
  }

  /** Ends every stream that is left. */
  stopAll(): void {
    const reason = shuttingDown();
    for (const stream of this) {
      this.#defects.contain('stop of a stream', () => {
        stream.stop(reason);
        // Nobody can come back to a process that is gone.
        for (const reader of stream.audience.readers) if (reader.isLost) reader.detach(reason);
      });
    }
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

  /** What is left of a stream that has a defect, which was told. */
  #endDefective(stream: GatewayStream): void {
    // Looked at again, it would fail again.
    if (stream.signal.aborted) {
      this.#known.delete(stream.token);
      this.retained.forget(stream);
      stream.audience.forgetBookmarks();
    }
    stream.stop(asGatewayError(undefined));
    for (const reader of stream.audience.readers) reader.detach(asGatewayError(undefined), false);
  }

  /** Looks at all streams, with turns for everybody else in between: 10,000 at once would take 30 ms. */
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

  /** Lets go of streams that ended so long ago that nobody can come back. */
  #forget(nowMs: number): void {
    for (const stream of this.#known.values()) {
      if (stream.isDelivered && this.#isOver(stream, nowMs)) this.#drop(stream);
    }
  }

  /** Nobody can come back to it. Readers that have to say that they have everything are still watched. */
  #drop(stream: GatewayStream): void {
    this.retained.forget(stream);
    stream.forget();
    if (!stream.isLive) this.#known.delete(stream.token);
  }

  /** It ended so long ago that it has no URL any more: who reads it by then reads on, and nobody else begins. */
  #isOver({ retainedSinceMs }: GatewayStream, nowMs: number): boolean {
    return retainedSinceMs !== undefined && nowMs - retainedSinceMs >= this.#config.retainMs;
  }
}

const goodbyeMs = 500;
/** Of so many places, readers that hold back their credit may keep what they have for `pauseMs`; a client for two thirds of these. */
const pausedPart = 1 / 2;
/** A stream takes 3 µs. */
const streamsATurn = 256;
