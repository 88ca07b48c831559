import { asError } from '../as-error.ts';
import type { Channel } from '../channel/channel.ts';

/**
 * A channel as a WHATWG `WritableStream`, for what pipes into one. Each write waits for room in the channel,
 * and nothing waits in the stream but the chunk that is being written. Closing it completes the channel,
 * aborting it fails the channel; a channel that was cancelled fails the next write. A chunk that cannot be written
 * (`weigh` fails for it, say) fails both: a stream that has failed is never closed.
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
        // The stream does not tell of a write that failed: nobody else would end the channel.
        channel.fail(asError(error));
        throw error;
      }
    },
    close: () => channel.complete(),
    abort: (reason: unknown) => channel.fail(asError(reason)),
  });
}
