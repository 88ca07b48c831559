import type { Reader } from '../channel/reader.ts';

/**
 * A reader as a WHATWG `ReadableStream`. It is driven by `pull` and buffers nothing: what nobody asks
 * for waits in the channel, where it is bounded. An end with an error is the stream's error.
 *
 * @param cancel what is done when nobody gets the rest, because the stream was cancelled or its reader failed. Default: it
 *   detaches the reader.
 * @example
 * ```ts
 * return new Response(toReadableStream(channel.reader()));
 * ```
 */
export function toReadableStream<T>(
  reader: Reader<T>,
  cancel: (reason: unknown) => void = () => reader.detach(),
): ReadableStream<T> {
  const iterator = reader[Symbol.asyncIterator]();
  return new ReadableStream<T>(
    {
      async pull(controller) {
        try {
          const result = await iterator.next();
          if (result.done === true) controller.close();
          else controller.enqueue(result.value);
        } catch (error) {
          cancel(error);
          throw error;
        }
      },
      cancel,
    },
    { highWaterMark: 0 },
  );
}
