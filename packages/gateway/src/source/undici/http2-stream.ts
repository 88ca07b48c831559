import { subscribe } from 'node:diagnostics_channel';
import { type ClientHttp2Stream, constants } from 'node:http2';
import { GrowingBytes } from '../growing-bytes.ts';

/** Who is told of the stream that is opened in this turn. */
let onOpened: ((stream: ClientHttp2Stream) => void) | undefined;

subscribe('http2.client.stream.created', (message) => {
  const { stream } = message as { readonly stream: ClientHttp2Stream };
  onOpened?.(stream);
  onOpened = undefined;
});

/** undici opens a stream for a request right after it has told that it starts, and tells nobody which. */
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
  /** Whether nobody takes what comes. */
  readonly isPaused: () => boolean;
  /** The provider has said that this was all. */
  readonly onEnd: () => void;
}

/**
 * What undici and Node get wrong of a stream's body.
 *
 * - Node ends the body of a stream that its provider has reset with `NO_ERROR` or `CANCEL` as if it were whole, and undici
 *   hands that on. The difference is when: at `END_STREAM` the stream is still open, by a reset it is closed.
 * - Node lets a paused stream fill 64 KiB before its provider has to stop, and keeps each frame, however small, as an object
 *   with all that was read together with it. Here the provider stops at its window, and what waits is one piece.
 * - undici stops to listen when trailers come. Of a stream that is paused, the body is still to come then.
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
