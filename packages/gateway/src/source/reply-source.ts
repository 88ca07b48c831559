import type { Channel, ChunkMemory, OfferResult } from '@spillway/core';
import { type EventRun, EventScanner } from '@spillway/core/format/sse';
import type { BusyLoop } from '@spillway/server/time/busy-loop';
import { asGatewayError, GatewayError } from '@spillway/server/errors';
import type { LargeEvents, StreamLimit } from '@spillway/server/limit/stream-limit';
import type { StreamPace } from '@spillway/server/limit/stream-pace';
import { LargeRun } from '@spillway/server/memory/large-run';
import type { EventPlace } from '@spillway/server/memory/event-memory';
import type { LimitCut } from '@spillway/server/stream/limit-cut';
import { nodeClock } from '@spillway/server/time/node-clock';
import { maxReadBytes } from './connect.ts';
import type { Reply } from './reply.ts';
import type { BodyHandler } from './reply-body.ts';
import { ReportedError } from './reported-error.ts';
import { ResponseError } from './response-reader.ts';

/** A read of so many bytes is worth its cost even when the process is busy: no rest follows it. */
const worthAReadBytes = 2048;

/**
 * An unfinished event with more bytes than this takes a place in the EventMemory before the next read. The
 * bytes of one more read are part of the 128 KiB of every stream. It is a run of its own, because no read brings as much.
 */
const smallEventBytes = 16_384;

type Cut = Pick<LimitCut, 'closing' | 'error'>;

/** Learns what a ReplySource has read. */
interface ReplyListener {
  /**
   * The largest run of several events that is offered to the channel, in bytes: the smallest bound of a
   * reader.
   */
  readonly maxRunBytes: number;
  /** The events and bytes that have come so far. */
  readonly events: number;
  readonly bytes: number;
  /** What of them came in large events. */
  readonly large: LargeEvents;
  /** Bytes came. A comment (no events) is no progress. In a body that is no event stream, every byte is. */
  received(run: EventRun, isProgress: boolean, nowMs: number): void;
  /**
   * The provider has to wait (`isPaused`), or is read again. It waits because the channel is full, or the
   * EventMemory is, or a limit slows it or has not granted more (`cause`).
   */
  paused(isPaused: boolean, nowMs: number, cause?: 'event_memory' | 'limit'): void;
  /** A large event is in the channel. The listener releases it when every reader has passed it. */
  accepted(run: LargeRun): void;
  /**
   * What holds the stream against limits, and the limit that ends it in its midst: what came is still delivered. Absent: no
   * limit concerns it.
   */
  readonly limits?: { readonly limit: StreamLimit | undefined; readonly cut: Cut | undefined } | undefined;
}

export interface ReplySourceOptions {
  readonly listener: ReplyListener;
  /** Tells how long to wait between two small reads. */
  readonly loop: Pick<BusyLoop, 'gapMs' | 'look'>;
  /** Finds the events of an event stream. Without it the body is handed on as it comes. */
  readonly scanner: EventScanner | undefined;
  /** How fast events may go on. Default: as fast as the readers take them. Only with a scanner. */
  readonly pace?: StreamPace | undefined;
  /** Gets the bytes of a body that is no event stream; valid only until it returns. */
  readonly onBody?: ((bytes: Uint8Array) => void) | undefined;
  /** Gets each run until it returns `true`, before the listener does. */
  readonly isAwaited?: ((run: EventRun) => boolean) | undefined;
  /** Gets each event with more than 16 KiB, before the listener hears of it. */
  readonly onLargeEvent?: ((event: Uint8Array) => void) | undefined;
  /** Opens a place for a large event. */
  readonly openPlace: () => EventPlace;
  readonly maxEventBytes: number;
  /** The most bytes of the whole stream. A longer one fails with `stream_too_large`. */
  readonly maxStreamBytes: number;
  /** Called when the channel has ended. */
  readonly onEnd: () => void;
}

/**
 * Reads a provider's reply into a channel: the provider's own bytes, in whole events if it is an event
 * stream. When the channel is full, or an event waits for its pace, the provider's socket is not read, so its
 * kernel makes the provider wait.
 *
 * An event stream is complete with the provider's own end marker. A finish reason for each of its choices is
 * enough, too, if HTTP says that the body is whole. HTTP says so by a length or a last chunk; a closed
 * connection proves nothing. An event stream that ends in any other way has failed. Any other body is
 * complete when HTTP says so.
 *
 * One file, because what makes the provider wait (the channel, a pace, a limit, the memory of events, a busy process) may
 * each be there when the reply ends, and the end comes behind all that is held.
 */
export class ReplySource implements BodyHandler {
  readonly #reply: Reply;
  readonly #channel: Channel<EventRun>;
  readonly #options: ReplySourceOptions;
  readonly #memory: Pick<ChunkMemory<EventRun>, 'own'>;
  /** Runs that the channel had no room for, or that wait for their pace. They were read before the pause took effect. */
  readonly #held: EventRun[] = [];
  #isDraining = false;
  /** The place of the unfinished event, once it is large. */
  #place: EventPlace | undefined;
  /** The bytes that an unfinished event may have. With more, its place must grow before the next read. */
  #roomBytes = smallEventBytes;
  /** Reading has stopped until the place can grow. */
  #isShort = false;
  /** Reading has stopped until a limit grants more. */
  #isUngranted = false;
  /** The listener knows that the provider waits. */
  #isPaused = false;
  /** Reading has stopped for a moment, because the process is busy. */
  #isResting = false;
  #isReplyOpen = true;
  #isAwaited: ReplySourceOptions['isAwaited'];
  #bodyEnd: { readonly error: Error | undefined } | undefined;
  #bytes = 0;
  #bytesBehindEnd = 0;

  constructor(
    reply: Reply,
    channel: Channel<EventRun>,
    memory: Pick<ChunkMemory<EventRun>, 'own'>,
    options: ReplySourceOptions,
  ) {
    this.#reply = reply;
    this.#channel = channel;
    this.#memory = memory;
    this.#options = options;
    this.#isAwaited = options.isAwaited;
  }

  data(read: Buffer, start: number, end: number): void {
    if (this.#bodyEnd !== undefined) {
      // Few bytes after the end are dropped, so that the connection can be used again. Many belong to
      // nothing, and a decoder could make more of them for as long as the connection is open.
      this.#bytesBehindEnd += end - start;
      if (this.#bytesBehindEnd > maxReadBytes) this.#reply.discard();
      return;
    }
    this.#bytes += end - start;
    if (this.#bytes > this.#options.maxStreamBytes) {
      this.#abort(
        new GatewayError(
          'stream_too_large',
          `The reply has more than ${this.#options.maxStreamBytes} bytes (maxStreamBytes).`,
        ),
      );
      return;
    }
    const { scanner } = this.#options;
    // The channel copies the bytes that it keeps: the buffer is used again for the next read.
    const bytes = read.subarray(start, end);
    // At a pace each event goes by itself.
    const maxRunBytes = this.#options.pace === undefined ? this.#options.listener.maxRunBytes : 1;
    if (scanner === undefined) {
      this.#options.onBody?.(bytes);
      this.#emitBytes(bytes, maxRunBytes);
      return;
    }
    try {
      scanner.push(bytes, this.#emit, maxRunBytes);
      if (scanner.partialBytes > this.#roomBytes) this.#growPlace(scanner);
    } catch (error) {
      this.#abort(asGatewayError(error));
      return;
    }
    // The end marker ends the stream even if the provider keeps the connection open: no reader waits for
    // that.
    if (scanner.hasEnded) this.#finish(undefined);
    else if (this.#mustWait(this.#options.listener.limits?.limit)) return;
    else if (this.#options.loop.gapMs > 0 && end - start < worthAReadBytes) this.#rest();
    // This read may have completed the event that waited for room.
    else if (this.#isPaused) this.#goOn();
  }

  /** Bytes without events can be cut anywhere: every part has at most `maxBytes`. */
  #emitBytes(bytes: Uint8Array, maxBytes: number): void {
    for (let start = 0; start < bytes.length; start += maxBytes) {
      const part = bytes.length <= maxBytes ? bytes : bytes.subarray(start, start + maxBytes);
      this.#emit({ bytes: part, byteLength: part.length, events: 0 });
    }
  }

  /** Grows the place of the unfinished event, and pauses reading if there is no room. */
  #growPlace(scanner: EventScanner): void {
    const { openPlace } = this.#options;
    if (this.#isShort || this.#bodyEnd !== undefined) return;
    this.#place ??= openPlace();
    while (scanner.partialBytes > this.#roomBytes) {
      if (!this.#place.grow(this.#onRoom)) {
        this.#isShort = true;
        this.#pause('event_memory');
        return;
      }
      this.#noteRoom();
    }
  }

  /** Keeps room for one more read, unless the place already holds the largest event allowed. */
  #noteRoom(): void {
    const { bytes = 0 } = this.#place ?? {};
    this.#roomBytes = bytes < this.#options.maxEventBytes ? bytes - maxReadBytes : Infinity;
  }

  /** Called when another stream gave room back. A failure of this stream must not reach that one. */
  readonly #onRoom = (): void => {
    try {
      const { scanner } = this.#options;
      this.#noteRoom();
      this.#isShort = false;
      if (scanner !== undefined && scanner.partialBytes > this.#roomBytes) this.#growPlace(scanner);
      this.#goOn();
    } catch (error) {
      this.#abort(asGatewayError(error));
    }
  };

  /**
   * Counts what has come against the limits. Whether reading has stopped because more was not granted yet. Once a read, and
   * not once an event: whether more is granted is known only when the store has answered, so to keep the rest of a read back
   * would need a second place where events wait.
   */
  #mustWait(limit: StreamLimit | undefined): boolean {
    if (limit === undefined) return false;
    const { bytes, events, large } = this.#options.listener;
    limit.received(events, bytes, large);
    if (!limit.isShort || this.#bodyEnd !== undefined) return false;
    this.#isUngranted = true;
    limit.onRoom = this.#onGranted;
    this.#pause('limit');
    return true;
  }

  readonly #onGranted = (): void => {
    this.#isUngranted = false;
    this.#goOn();
  };

  /** Takes the place away with its event. The next event begins without one. */
  #takePlace(): EventPlace | undefined {
    const place = this.#place;
    this.#place = undefined;
    this.#roomBytes = smallEventBytes;
    this.#isShort = false;
    return place;
  }

  #pause(cause?: 'event_memory' | 'limit'): void {
    this.#reply.pause();
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#options.listener.paused(true, performance.now(), cause);
  }

  /** Reads on, unless the channel, the EventMemory or a busy process is in the way. */
  #goOn(): void {
    if (this.#isDraining || this.#isShort || this.#isUngranted) return;
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#options.listener.paused(false, performance.now());
    }
    if (!this.#isResting && this.#bodyEnd === undefined) this.#reply.resume();
  }

  #rest(): void {
    if (this.#isResting || this.#isDraining || this.#isShort || this.#isUngranted) return;
    this.#isResting = true;
    this.#reply.pause();
    // The wait has a random part. Without it, connections that once waited together would always wake
    // together.
    nodeClock.soon(this.#options.loop.gapMs * (0.75 + Math.random() / 2), this.#rested);
  }

  readonly #rested = (): void => {
    this.#isResting = false;
    this.#goOn();
  };

  /** Whether the provider still holds its connection for this reply. */
  get isReplyOpen(): boolean {
    return this.#isReplyOpen;
  }

  complete(): void {
    this.#isReplyOpen = false;
    this.#finish(undefined);
  }

  fail(error: Error): void {
    this.#isReplyOpen = false;
    this.#finish(error);
  }

  readonly #emit = (run: EventRun): void => {
    const { listener, loop, scanner } = this.#options;
    const nowMs = performance.now();
    loop.look(nowMs);
    if (run.events === 1 && run.byteLength > smallEventBytes) this.#options.onLargeEvent?.(run.bytes);
    if (this.#isAwaited?.(run) === true) this.#isAwaited = undefined;
    listener.received(run, run.events > 0 || scanner === undefined, nowMs);
    // The first run has the unfinished event, so the place belongs to that run.
    const place = this.#place === undefined ? undefined : this.#takePlace();
    if (place !== undefined) this.#offerLarge(new LargeRun(run, place));
    else this.#heed(run, this.#offer(run));
  };

  #offer(run: EventRun): OfferResult | 'early' {
    if (this.#held.length > 0) return 'full';
    if (this.#options.pace?.take(run) === false) return 'early';
    return this.#channel.offer(run);
  }

  #heed(run: EventRun, result: OfferResult | 'early'): void {
    if (result === 'early') this.#hold(run, true);
    else if (result === 'full') this.#hold(run, false);
  }

  #offerLarge(run: LargeRun): void {
    let result: OfferResult | 'early' = 'closed';
    try {
      result = this.#offer(run);
    } finally {
      if (result === 'closed') run.release();
    }
    if (result === 'accepted') this.#options.listener.accepted(run);
    else this.#heed(run, result);
  }

  /** `isEarly`: the run has to wait for its pace, which it has not taken its turn of. */
  #hold(run: EventRun, isEarly: boolean): void {
    this.#held.push(this.#memory.own(run));
    if (!this.#isDraining) {
      this.#drain(isEarly).catch((error: unknown) => this.#drainFailed(asGatewayError(error)));
    }
  }

  async #drain(isFirstEarly: boolean): Promise<void> {
    const { pace } = this.#options;
    let isEarly = isFirstEarly;
    this.#isDraining = true;
    this.#pause(isEarly ? 'limit' : undefined);
    try {
      for (let run = this.#held[0]; run !== undefined; run = this.#held[0]) {
        if (isEarly) await pace?.turn(run);
        isEarly = pace !== undefined;
        await this.#channel.write(run);
        this.#held.shift();
        if (run instanceof LargeRun) this.#options.listener.accepted(run);
      }
    } catch (error) {
      for (const run of this.#held.splice(0)) if (run instanceof LargeRun) run.release();
      // If the channel has ended, the rest is not needed. Otherwise a run is missing, and the stream must not
      // end as if it were whole.
      if (this.#channel.end === undefined) throw error;
    }
    this.#isDraining = false;
    // Read `#bodyEnd` first: `#goOn` may bring the end of the body, with a run to hold before it.
    const end = this.#bodyEnd;
    this.#goOn();
    if (end !== undefined) this.#settle(end.error);
  }

  /** The body may have ended already. Then only the channel is still to be ended. */
  #drainFailed(error: GatewayError): void {
    this.#isDraining = false;
    if (this.#bodyEnd === undefined) this.#abort(error);
    else this.#settle(error);
  }

  #abort(error: Error): void {
    this.#finish(error);
    this.#reply.cancel(error);
  }

  #finish(error: Error | undefined): void {
    if (this.#bodyEnd !== undefined) return;
    let end = error;
    const isCut = error !== undefined && this.#options.listener.limits?.cut !== undefined;
    try {
      if (error instanceof GatewayError && error.isCancel && !isCut) this.#channel.cancel(error);
      // Nobody waits for the rest of the event that was under way.
      if (!isCut) this.#options.scanner?.end(this.#emit);
    } catch (thrown) {
      // An error here must end the stream: nothing else would.
      end = asGatewayError(thrown);
    }
    this.#bodyEnd = { error: end };
    this.#takePlace()?.release();
    this.#goOn();
    if (!this.#isDraining) this.#settle(end);
  }

  #settle(error: Error | undefined): void {
    const { listener, scanner } = this.#options;
    const cut = listener.limits?.cut;
    if (error !== undefined && cut !== undefined && scanner?.hasFailed !== true) {
      void this.#close(cut);
      return;
    }
    try {
      this.#endChannel(error);
    } finally {
      this.#options.onEnd();
    }
  }

  /** Ends a stream that is cut: behind all that came, the events that make a whole message of it. Never rejects. */
  async #close(cut: Cut): Promise<void> {
    const { onEnd } = this.#options;
    try {
      const closing = cut.closing();
      if (closing !== undefined) await this.#writeClosing(closing);
      if (closing === undefined) this.#channel.fail(cut.error);
      else this.#channel.cut(cut.error);
    } catch (error) {
      // Does nothing if the channel has ended meanwhile, with whoever wanted the rest.
      this.#channel.fail(asGatewayError(error));
    } finally {
      onEnd();
    }
  }

  async #writeClosing(closing: Uint8Array): Promise<void> {
    const runs: EventRun[] = [];
    const scanner = new EventScanner({ maxEventBytes: closing.length });
    scanner.push(closing, (run) => runs.push(run), this.#options.listener.maxRunBytes);
    for (const run of runs) {
      if (run.byteLength <= smallEventBytes) await this.#channel.write(run);
      else await this.#writeLarge(run);
    }
  }

  /** Waits for the place of a large event, and for its room in the channel. */
  async #writeLarge(run: EventRun): Promise<void> {
    const { maxEventBytes, openPlace } = this.#options;
    const place = openPlace();
    while (place.bytes < Math.min(run.byteLength, maxEventBytes)) {
      await new Promise<void>((resolve) => {
        if (place.grow(resolve)) resolve();
      });
    }
    const large = new LargeRun(run, place);
    try {
      await this.#channel.write(large);
    } catch (error) {
      large.release();
      throw error;
    }
    this.#options.listener.accepted(large);
  }

  #endChannel(error: Error | undefined): void {
    const { scanner } = this.#options;
    if (scanner?.hasFailed === true) {
      const message = 'The provider reported an error in the stream.';
      this.#channel.fail(new ReportedError(message, scanner.errorData));
    } else if (this.#isWhole(error)) {
      this.#channel.complete();
    } else if (error instanceof GatewayError) {
      this.#channel.fail(error);
    } else if (error instanceof ResponseError) {
      const message = `The provider's answer stopped being valid HTTP in its midst. ${error.message}`;
      this.#channel.fail(new GatewayError('upstream_invalid', message, { cause: error }));
    } else {
      this.#channel.fail(
        new GatewayError(
          'upstream_cut',
          'The provider closed the stream before its end: the answer is not complete.',
          {
            cause: error,
          },
        ),
      );
    }
  }

  #isWhole(error: Error | undefined): boolean {
    const { scanner } = this.#options;
    if (scanner === undefined) return error === undefined;
    return scanner.hasEnded || (scanner.hasFinished && error === undefined && this.#reply.isDelimited);
  }
}
