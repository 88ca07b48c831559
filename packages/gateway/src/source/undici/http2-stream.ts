import { subscribe } from 'node:diagnostics_channel';
import type { ClientHttp2Stream } from 'node:http2';

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

/**
 * Node ends the body of a stream that its provider has reset with `NO_ERROR` or `CANCEL` as if it were whole, and undici
 * hands that on. The difference is when: at `END_STREAM` the stream is still open, by a reset it is closed.
 */
export function onEndOfStream(stream: ClientHttp2Stream, callback: () => void): void {
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk === null && !stream.closed) callback();
    return push(chunk, encoding);
  };
}

/** undici stops to listen when trailers come. Of a stream that is paused, the body is still to come then. */
export function keepListening(stream: ClientHttp2Stream): void {
  const off = stream.off.bind(stream);
  stream.off = (event: string | symbol, listener: (...args: unknown[]) => void) =>
    event === 'data' ? stream : off(event, listener);
}
