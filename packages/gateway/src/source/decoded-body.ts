import type { Transform } from 'node:stream';
import { GatewayError, overloaded } from '@spillway/server/errors';
import { ownCopy } from '@spillway/server/memory/run-memory';
import type { BodyHandler, ReplyBody } from './reply-body.ts';

/** The memory of a decoder at first: its state, and one read on either side. */
const baseBytes = 65_536;
/** The bound for all decoders of the process: enough for 2,000 with small windows. */
const maxDecoderBytes = 134_217_728;
let decoderBytes = 0;

/** The memory that all decoders count with now, in bytes. */
export function heldDecoderBytes(): number {
  return decoderBytes;
}

/**
 * A body that is decoded as it comes. Each read is decoded and handed on completely before the next one. So
 * however far a few bytes expand, at most one read waits on either side of the decoder. The decoder's window
 * counts, too: Σ over all decoders ≤ `maxDecoderBytes` always.
 */
export class DecodedBody implements ReplyBody, BodyHandler {
  readonly #body: ReplyBody;
  readonly #decoder: Transform;
  readonly #windowBytes: number;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.cancel(this.#signal?.reason as Error);
  #handler: BodyHandler | undefined;
  #heldBytes = 0;
  #decodedBytes = 0;
  /** The decoder has reached the end of the coded data. */
  #isDecoded = false;
  /** How the coded body ended. The handler hears of it after the last decoded bytes. */
  #bodyEnd: { readonly error: Error | undefined } | undefined;
  #isOver = false;

  /**
   * `windowBytes`: the largest window of decoded bytes that the decoder keeps. `signal` stops the decoding:
   * all coded bytes may be here already, and then no closed connection would stop it.
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
      // After the coded data there may be bytes that belong to nothing. They are read and dropped.
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

  cancel(reason: Error): void {
    this.#finish(reason);
    this.#body.cancel(reason);
  }

  data(bytes: Buffer, start: number, end: number): void {
    if (this.#isDecoded || this.#isOver) return;
    this.#body.pause();
    this.#decoder.write(ownCopy(bytes, start, end), (error) => {
      if ((error === null || error === undefined) && !this.#isOver) this.#body.resume();
    });
  }

  complete(): void {
    this.#endBody(undefined);
  }

  fail(error: Error): void {
    // The gateway itself ended the body: its last decoded bytes are not needed.
    if (error instanceof GatewayError) this.#finish(error);
    else this.#endBody(error);
  }

  #endBody(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#bodyEnd = { error };
    if (this.#isDecoded) this.#finish(error);
    else this.#decoder.end();
  }

  /** The memory that the decoder needs now. Its window doubles as decoded bytes come. */
  #neededBytes(moreBytes: number): number {
    this.#decodedBytes += moreBytes;
    const windowBytes = Math.min(this.#windowBytes, 2 ** Math.ceil(Math.log2(this.#decodedBytes)));
    return Math.max(baseBytes, windowBytes);
  }

  #hold(bytes: number): boolean {
    const more = bytes - this.#heldBytes;
    if (more <= 0) return true;
    if (decoderBytes + more > maxDecoderBytes) {
      this.cancel(overloaded('There is no memory left to decode what providers compress.'));
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
    this.cancel(failure);
  }

  #finish(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    decoderBytes -= this.#heldBytes;
    this.#heldBytes = 0;
    this.#decoder.destroy();
    if (error === undefined) this.#handler?.complete();
    else this.#handler?.fail(error);
  }
}
