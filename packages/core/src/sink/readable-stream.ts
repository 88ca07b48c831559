import type { Reader } from '../channel/reader.ts';

/**
 * A reader as a WHATWG `ReadableStream`. The stream buffers nothing: a chunk is taken when `pull` asks for it, and the
 * others wait in the channel, which is bounded. An end with an error fails the stream.
 *
 * @param cancel called when nobody gets the rest, because the stream was cancelled or its reader failed. Default: the
 *   reader is detached.
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
