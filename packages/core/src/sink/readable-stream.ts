import type { Reader } from '../channel/reader.ts';

/**
 * A reader as a WHATWG `ReadableStream`. It is driven by `pull` and buffers nothing: what nobody asks
 * for waits in the channel, where it is bounded. An end with an error is the stream's error.
 *
 * @param cancel what cancelling the stream does. Default: it detaches the reader.
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
        const result = await iterator.next();
        if (result.done === true) controller.close();
        else controller.enqueue(result.value);
      },
      cancel,
    },
    { highWaterMark: 0 },
  );
}
