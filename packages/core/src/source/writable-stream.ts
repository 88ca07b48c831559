import { asError } from '../as-error.ts';
import type { Channel } from '../channel/channel.ts';

/**
 * A channel as a WHATWG `WritableStream`, for sources that pipe into one. Each write waits for room in the channel.
 * Only the chunk that is being written waits in the stream. Closing the stream completes the channel, aborting the
 * stream fails the channel; a channel that was cancelled fails the next write. A chunk that cannot be written (because
 * `weigh` throws, say) fails both.
 *
 * @example
 * ```ts
 * await response.body?.pipeTo(toWritableStream(channel));
 * ```
 */
export function toWritableStream<T>(channel: Channel<T>): WritableStream<T> {
  return new WritableStream<T>({
    write: async (chunk, { signal }) => {
      try {
        await channel.write(chunk, { signal });
      } catch (error) {
        // The channel has to end here: after a failed write the stream never calls `close` or `abort`.
        channel.fail(asError(error));
        throw error;
      }
    },
    close: () => channel.complete(),
    abort: (reason: unknown) => channel.fail(asError(reason)),
  });
}
