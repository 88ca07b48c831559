import type { Channel, ChunkMemory } from '@spillway/core';
import type { EventRun, EventScanner } from '@spillway/core/format/sse';
import type { BusyLoop } from '../busy-loop.ts';
import { asGatewayError, GatewayError } from '../errors.ts';
import { soon } from '../soon.ts';
import type { BodyHandler, Reply } from './reply.ts';
import { ResponseError } from './response-reader.ts';

/** A read that brought so much is worth its costs, however busy the process is. */
const worthAReadBytes = 2048;

/** Who hears of what comes. */
interface ReplyListener {
  /** Something came. A comment (no events) is no progress; of a body that is no event stream, every byte is. */
  received(run: EventRun, isProgress: boolean, nowMs: number): void;
  /** The channel makes the provider wait, or it may go on. */
  paused(isPaused: boolean, nowMs: number): void;
}

export interface ReplySourceOptions {
  readonly listener: ReplyListener;
  /** Says how long to wait between two small reads. */
  readonly loop: Pick<BusyLoop, 'gapMs' | 'look'>;
  /** Finds the events of an event stream; without it the body is handed on as it comes. */
  readonly scanner: EventScanner | undefined;
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
 * An event stream is completed only by the provider's own end marker. One that ends without, in
 * whatever way, has failed. In a format without a marker the provider's last word has to have come and HTTP
 * has to say that the body is whole; for any other body HTTP's word is enough.
 */
export class ReplySource implements BodyHandler {
  readonly #reply: Reply;
  readonly #channel: Channel<EventRun>;
  readonly #options: ReplySourceOptions;
  readonly #memory: Pick<ChunkMemory<EventRun>, 'own'>;
  /** Runs that the channel had no room for: what the socket had read before the pause took effect. */
  readonly #held: EventRun[] = [];
  #isDraining = false;
  /** Nothing is read for a moment, because the process is busy. */
  #isResting = false;
  #isReplyOpen = true;
  #bodyEnd: { readonly error: Error | undefined } | undefined;
  #bytes = 0;

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
    if (scanner === undefined) {
      this.#emit({ bytes, byteLength: bytes.length, events: 0 });
      return;
    }
    try {
      scanner.push(bytes, this.#emit);
    } catch (error) {
      this.#abort(asGatewayError(error));
      return;
    }
    // The marker ends the stream, whatever the provider's connection does: no reader waits for more.
    if (scanner.hasEnded) this.#finish(undefined);
    else if (this.#options.loop.gapMs > 0 && end - start < worthAReadBytes) this.#rest();
  }

  #rest(): void {
    if (this.#isResting || this.#isDraining) return;
    this.#isResting = true;
    this.#reply.pause();
    // Spread, or those that were once late together would always be read together.
    soon(this.#options.loop.gapMs * (0.75 + Math.random() / 2), this.#rested);
  }

  readonly #rested = (): void => {
    this.#isResting = false;
    if (!this.#isDraining && this.#bodyEnd === undefined) this.#reply.resume();
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
    if (this.#held.length === 0 && this.#channel.offer(run) !== 'full') return;
    this.#held.push(this.#memory.own(run));
    if (!this.#isDraining) {
      this.#drain().catch((error: unknown) => this.#drainFailed(asGatewayError(error)));
    }
  };

  async #drain(): Promise<void> {
    this.#isDraining = true;
    this.#reply.pause();
    this.#options.listener.paused(true, performance.now());
    try {
      for (let run = this.#held[0]; run !== undefined; run = this.#held[0]) {
        await this.#channel.write(run);
        this.#held.shift();
      }
    } catch (error) {
      this.#held.length = 0;
      // Otherwise it has ended, and nobody wants the rest. A stream that lacks a run must not end as if it were whole.
      if (this.#channel.end === undefined) throw error;
    }
    this.#isDraining = false;
    this.#options.listener.paused(false, performance.now());
    if (this.#bodyEnd !== undefined) this.#settle(this.#bodyEnd.error);
    else if (!this.#isResting) this.#reply.resume();
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
      const message = "The provider's answer stopped being valid HTTP.";
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
    return scanner.hasEnded || (scanner.hasFinished && error === undefined);
  }
}
