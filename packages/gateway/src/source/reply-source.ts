import type { Channel, ChunkMemory, OfferResult } from '@spillway/core';
import type { EventRun, EventScanner } from '@spillway/core/format/sse';
import type { BusyLoop } from '@spillway/server/time/busy-loop';
import { asGatewayError, GatewayError } from '@spillway/server/errors';
import { LargeRun } from '@spillway/server/memory/large-run';
import type { EventPlace } from '@spillway/server/memory/event-memory';
import { nodeClock } from '@spillway/server/time/node-clock';
import { maxReadBytes } from './connect.ts';
import type { Reply } from './reply.ts';
import type { BodyHandler } from './reply-body.ts';
import { ResponseError } from './response-reader.ts';

/** A read that brought so much is worth its costs, however busy the process is. */
const worthAReadBytes = 2048;

/**
 * When so much of an event has come, and not its end, it takes a place in the memory of large events before more of it is
 * read. What one read more may bring is part of every stream's 128 KiB.
 */
const smallEventBytes = 16_384;

/** Who hears of what comes. */
interface ReplyListener {
  /** Of several events, no more may be handed to the channel at once: the smallest bound of a reader. */
  readonly maxRunBytes: number;
  /** Something came. A comment (no events) is no progress; of a body that is no event stream, every byte is. */
  received(run: EventRun, isProgress: boolean, nowMs: number): void;
  /** The channel makes the provider wait, or the memory of large events does, or it may go on. */
  paused(isPaused: boolean, nowMs: number, cause?: 'event_memory'): void;
  /** A large event is in the channel: whoever listens lets go of it when every reader has passed it. */
  accepted(run: LargeRun): void;
}

export interface ReplySourceOptions {
  readonly listener: ReplyListener;
  /** Says how long to wait between two small reads. */
  readonly loop: Pick<BusyLoop, 'gapMs' | 'look'>;
  /** Finds the events of an event stream; without it the body is handed on as it comes. */
  readonly scanner: EventScanner | undefined;
  /** A place for a large event. */
  readonly openPlace: () => EventPlace;
  readonly maxEventBytes: number;
  /** The bytes of the whole stream; beyond them it fails with `stream_too_large`. */
  readonly maxStreamBytes: number;
  /** Told when the channel has ended. */
  readonly onEnd: () => void;
}

/**
 * Reads a provider's reply into a channel: the provider's own bytes, in whole events where it is an
 * event stream. When the channel is full the provider's socket is not read, so its kernel makes the
 * provider wait.
 *
 * An event stream is completed by the provider's own end marker, or by a reason to end for each of its choices together with
 * a body that HTTP says is whole, by its length or its last chunk: a closed connection says nothing. One that ends without, in
 * whatever way, has failed. For any other body HTTP's word is enough.
 */
export class ReplySource implements BodyHandler {
  readonly #reply: Reply;
  readonly #channel: Channel<EventRun>;
  readonly #options: ReplySourceOptions;
  readonly #memory: Pick<ChunkMemory<EventRun>, 'own'>;
  /** Runs that the channel had no room for: what the socket had read before the pause took effect. */
  readonly #held: EventRun[] = [];
  #isDraining = false;
  /** The place of the event whose end has not come, once it is large. */
  #place: EventPlace | undefined;
  /** Of an event whose end has not come, so much may be here; with more, its place grows before anything is read. */
  #roomBytes = smallEventBytes;
  /** Nothing is read until the place can grow. */
  #isShort = false;
  /** The listener was told that the provider waits. */
  #isPaused = false;
  /** Nothing is read for a moment, because the process is busy. */
  #isResting = false;
  #isReplyOpen = true;
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
  }

  data(read: Buffer, start: number, end: number): void {
    if (this.#bodyEnd !== undefined) {
      // A few bytes, and the connection can be used again. Many are nobody's, and a decoder would make them for as long as it is open.
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
    // Lent: the channel copies what it keeps.
    const bytes = read.subarray(start, end);
    const { maxRunBytes } = this.#options.listener;
    if (scanner === undefined) {
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
    // The marker ends the stream, whatever the provider's connection does: no reader waits for more.
    if (scanner.hasEnded) this.#finish(undefined);
    else if (this.#options.loop.gapMs > 0 && end - start < worthAReadBytes) this.#rest();
    // What waited for room may have been whole with this read.
    else if (this.#isPaused) this.#goOn();
  }

  /** Bytes have no borders: they are cut where it fits. */
  #emitBytes(bytes: Uint8Array, maxBytes: number): void {
    for (let start = 0; start < bytes.length; start += maxBytes) {
      const part = bytes.length <= maxBytes ? bytes : bytes.subarray(start, start + maxBytes);
      this.#emit({ bytes: part, byteLength: part.length, events: 0 });
    }
  }

  /** Takes room for the event that comes, and waits where there is none. */
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

  /** What one read may bring has to fit, too, unless the place can hold every event. */
  #noteRoom(): void {
    const { bytes = 0 } = this.#place ?? {};
    this.#roomBytes = bytes < this.#options.maxEventBytes ? bytes - maxReadBytes : Infinity;
  }

  /** Called by whoever gave room back, who must not fail for this stream. */
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

  /** Its place goes with the event; what comes behind it begins without one. */
  #takePlace(): EventPlace | undefined {
    const place = this.#place;
    this.#place = undefined;
    this.#roomBytes = smallEventBytes;
    this.#isShort = false;
    return place;
  }

  #pause(cause?: 'event_memory'): void {
    this.#reply.pause();
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#options.listener.paused(true, performance.now(), cause);
  }

  /** The provider is read on, unless something else is in the way. */
  #goOn(): void {
    if (this.#isDraining || this.#isShort) return;
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#options.listener.paused(false, performance.now());
    }
    if (!this.#isResting && this.#bodyEnd === undefined) this.#reply.resume();
  }

  #rest(): void {
    if (this.#isResting || this.#isDraining || this.#isShort) return;
    this.#isResting = true;
    this.#reply.pause();
    // Spread, or those that were once late together would always be read together.
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

  end(): void {
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
    listener.received(run, run.events > 0 || scanner === undefined, nowMs);
    // The event that several reads share comes first.
    const place = this.#place === undefined ? undefined : this.#takePlace();
    if (place !== undefined) this.#offerLarge(new LargeRun(run, place));
    else if (this.#held.length > 0 || this.#channel.offer(run) === 'full') this.#hold(run);
  };

  #offerLarge(run: LargeRun): void {
    let result: OfferResult = 'closed';
    try {
      result = this.#held.length > 0 ? 'full' : this.#channel.offer(run);
    } finally {
      if (result === 'closed') run.letGo();
    }
    if (result === 'accepted') this.#options.listener.accepted(run);
    else if (result === 'full') this.#hold(run);
  }

  #hold(run: EventRun): void {
    this.#held.push(this.#memory.own(run));
    if (!this.#isDraining) {
      this.#drain().catch((error: unknown) => this.#drainFailed(asGatewayError(error)));
    }
  }

  async #drain(): Promise<void> {
    this.#isDraining = true;
    this.#pause();
    try {
      for (let run = this.#held[0]; run !== undefined; run = this.#held[0]) {
        await this.#channel.write(run);
        this.#held.shift();
        if (run instanceof LargeRun) this.#options.listener.accepted(run);
      }
    } catch (error) {
      for (const run of this.#held.splice(0)) if (run instanceof LargeRun) run.letGo();
      // Otherwise it has ended, and nobody wants the rest. A stream that lacks a run must not end as if it were whole.
      if (this.#channel.end === undefined) throw error;
    }
    this.#isDraining = false;
    // Reading on may bring the end, and something that has to be held before it.
    const end = this.#bodyEnd;
    this.#goOn();
    if (end !== undefined) this.#settle(end.error);
  }

  /** The body may have ended meanwhile, and then only waits for what was held. */
  #drainFailed(error: GatewayError): void {
    this.#isDraining = false;
    if (this.#bodyEnd === undefined) this.#abort(error);
    else this.#settle(error);
  }

  #abort(error: Error): void {
    this.#finish(error);
    this.#reply.abort(error);
  }

  #finish(error: Error | undefined): void {
    if (this.#bodyEnd !== undefined) return;
    let end = error;
    try {
      if (error instanceof GatewayError && error.isCancel) this.#channel.cancel(error);
      this.#options.scanner?.finish(this.#emit);
    } catch (thrown) {
      // Nobody else would end the stream.
      end = asGatewayError(thrown);
    }
    this.#bodyEnd = { error: end };
    this.#takePlace()?.release();
    this.#goOn();
    if (!this.#isDraining) this.#settle(end);
  }

  #settle(error: Error | undefined): void {
    try {
      this.#endChannel(error);
    } finally {
      this.#options.onEnd();
    }
  }

  #endChannel(error: Error | undefined): void {
    const { scanner } = this.#options;
    if (scanner?.hasFailed === true) {
      this.#channel.fail(
        new GatewayError('upstream_reported', 'The provider reported an error in the stream.'),
      );
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
