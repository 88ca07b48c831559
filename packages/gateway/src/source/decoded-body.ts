import type { Transform } from 'node:stream';
import { GatewayError, overloaded } from '@spillway/server/errors';
import { ownCopy } from '@spillway/server/memory/run-memory';
import type { BodyHandler, ReplyBody } from './reply-body.ts';

/** What a decoder has at first: its state, and a read on either side of it. */
const baseBytes = 65_536;
/** All decoders of the process: 2,000 of those that keep little. */
const maxDecoderBytes = 134_217_728;
let decoderBytes = 0;

/** What all decoders have now. */
export function heldDecoderBytes(): number {
  return decoderBytes;
}

/**
 * A body that is decoded as it comes. One read is decoded at a time, and the next is not read before everything of it was
 * taken: however much a few bytes become, no more of it is here than one read on either side. What the decoder keeps of what it
 * has decoded counts, with that of all others: Σ ≤ `maxDecoderBytes` always.
 */
export class DecodedBody implements ReplyBody, BodyHandler {
  readonly #body: ReplyBody;
  readonly #decoder: Transform;
  readonly #windowBytes: number;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.abort(this.#signal?.reason as Error);
  #handler: BodyHandler | undefined;
  #heldBytes = 0;
  #decodedBytes = 0;
  /** The decoder has decoded all there is for it. */
  #isDecoded = false;
  /** How the coded body ended; what it has decoded comes before. */
  #bodyEnd: { readonly error: Error | undefined } | undefined;
  #isOver = false;

  /**
   * `windowBytes`: what the decoder keeps of what it has decoded, at most. `signal` stops it: what is still to be decoded may all be
   * here, and then no connection tells of a stop.
   */
  constructor(body: ReplyBody, decoder: Transform, windowBytes: number, signal?: AbortSignal) {
    this.#body = body;
    this.#decoder = decoder;
    this.#windowBytes = windowBytes;
    this.#signal = signal;
  }

  consume(handler: BodyHandler): void {
    this.#handler = handler;
    const decoder = this.#decoder;
    decoder.on('error', (error: NodeJS.ErrnoException) => this.#failed(error));
    decoder.on('end', () => {
      this.#isDecoded = true;
      // Behind it there may be bytes that belong to nothing.
      if (this.#bodyEnd === undefined) this.#body.resume();
      else this.#finish(this.#bodyEnd.error);
    });
    if (this.#signal?.aborted === true) {
      this.#onAbort();
      return;
    }
    if (!this.#hold(baseBytes)) return;
    this.#signal?.addEventListener('abort', this.#onAbort);
    decoder.on('data', (bytes: Buffer) => {
      if (this.#isOver || !this.#hold(this.#neededBytes(bytes.length))) return;
      handler.data(bytes, 0, bytes.length);
    });
    this.#body.consume(this);
  }

  pause(): void {
    this.#decoder.pause();
  }

  resume(): void {
    if (!this.#isOver) this.#decoder.resume();
  }

  abort(reason: Error): void {
    this.#finish(reason);
    this.#body.abort(reason);
  }

  data(bytes: Buffer, start: number, end: number): void {
    if (this.#isDecoded || this.#isOver) return;
    this.#body.pause();
    this.#decoder.write(ownCopy(bytes, start, end), (error) => {
      if ((error === null || error === undefined) && !this.#isOver) this.#body.resume();
    });
  }

  end(): void {
    this.#endBody(undefined);
  }

  fail(error: Error): void {
    // Nobody waits for what was decoded before the gateway itself ended it.
    if (error instanceof GatewayError) this.#finish(error);
    else this.#endBody(error);
  }

  #endBody(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#bodyEnd = { error };
    if (this.#isDecoded) this.#finish(error);
    else this.#decoder.end();
  }

  /** The decoder has doubled what it keeps, if it had to. */
  #neededBytes(moreBytes: number): number {
    this.#decodedBytes += moreBytes;
    const windowBytes = Math.min(this.#windowBytes, 2 ** Math.ceil(Math.log2(this.#decodedBytes)));
    return Math.max(baseBytes, windowBytes);
  }

  #hold(bytes: number): boolean {
    const more = bytes - this.#heldBytes;
    if (more <= 0) return true;
    if (decoderBytes + more > maxDecoderBytes) {
      this.abort(overloaded('There is no memory left to decode what providers compress.'));
      return false;
    }
    this.#heldBytes += more;
    decoderBytes += more;
    return true;
  }

  #failed(error: NodeJS.ErrnoException): void {
    const isCut = error.code === 'Z_BUF_ERROR';
    const ended = this.#bodyEnd?.error ?? error;
    const failure = isCut
      ? ended
      : new GatewayError('upstream_invalid', "The provider's compressed answer cannot be decoded.", {
          cause: error,
        });
    this.abort(failure);
  }

  #finish(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    decoderBytes -= this.#heldBytes;
    this.#heldBytes = 0;
    this.#decoder.destroy();
    if (error === undefined) this.#handler?.end();
    else this.#handler?.fail(error);
  }
}
