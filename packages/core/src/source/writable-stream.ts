import { asError } from '../as-error.ts';
import type { Channel } from '../channel/channel.ts';

/**
 * A channel as a WHATWG `WritableStream`, for what pipes into one. Each write waits for room in the channel,
 * and nothing waits in the stream but the chunk that is being written. Closing it completes the channel,
 * aborting it fails the channel; a channel that was cancelled fails the next write.
 *
 * @example
 * ```ts
 * await response.body.pipeTo(toWritableStream(channel));
 * ```
 */
export function toWritableStream<T>(channel: Channel<T>): WritableStream<T> {
  return new WritableStream<T>({
    write: (chunk, { signal }) => channel.write(chunk, { signal }),
    close: () => channel.complete(),
    abort: (reason: unknown) => channel.fail(asError(reason)),
  });
}
