import { subscribe } from 'node:diagnostics_channel';
import { type ClientHttp2Stream, constants } from 'node:http2';
import { GrowingBytes } from '../growing-bytes.ts';

/** Called with the stream that undici opens in this turn of the event loop. */
let onOpened: ((stream: ClientHttp2Stream) => void) | undefined;

subscribe('http2.client.stream.created', (message) => {
  const { stream } = message as { readonly stream: ClientHttp2Stream };
  onOpened?.(stream);
  onOpened = undefined;
});

/**
 * Calls back with the stream of a request. undici opens it right after `onRequestStart`, and does not say
 * which stream it is.
 */
export function expectStream(callback: (stream: ClientHttp2Stream) => void): void {
  onOpened = callback;
  queueMicrotask(() => {
    if (onOpened === callback) onOpened = undefined;
  });
}

/** The body of a stream. */
export interface StreamBody {
  /** Hands on what came during a pause that is over. */
  handOn(): void;
  /** Tells the provider that nobody wants it any more. undici would tell it that nothing is wrong (`NO_ERROR`). */
  cancel(): void;
}

export interface WatchOptions {
  /** Whether the reading of the body is paused. */
  readonly isPaused: () => boolean;
  /** Called when the provider has marked the end of the body. */
  readonly onEnd: () => void;
}

/**
 * What undici and Node get wrong of a stream's body.
 *
 * - A provider may reset a stream with `NO_ERROR` or `CANCEL`. Node then ends the body as if it were whole, and
 *   undici hands that on. At `END_STREAM` the stream is still open, after a reset it is closed.
 * - Node buffers 64 KiB of a paused stream before its provider has to stop. It keeps each frame, however small, as an
 *   object with everything that was read together with it. Here the provider stops at its window, and the waiting
 *   bytes are one piece.
 * - undici stops listening when trailers come. If the stream is paused, the rest of the body is still to come then.
 */
export function watchBody(stream: ClientHttp2Stream, { isPaused, onEnd }: WatchOptions): StreamBody {
  const push = stream.push.bind(stream);
  const off = stream.off.bind(stream);
  let waiting: GrowingBytes | undefined;
  const handOn = (): void => {
    const bytes = waiting?.bytes;
    waiting = undefined;
    if (bytes !== undefined && !stream.destroyed) push(bytes);
  };
  stream.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
    if (chunk !== null && isPaused()) {
      waiting ??= new GrowingBytes(Infinity);
      waiting.add(chunk);
      return false;
    }
    handOn();
    if (chunk === null && !stream.closed) onEnd();
    return push(chunk, encoding);
  };
  stream.off = (event: string | symbol, listener: (...args: unknown[]) => void) =>
    event === 'data' ? stream : off(event, listener);
  return { handOn, cancel: () => stream.close(constants.NGHTTP2_CANCEL) };
}
