import type { Reader } from '../channel/reader.ts';

/**
 * A reader as a WHATWG `ReadableStream`. It is driven by `pull` and buffers nothing: what nobody asks
 * for waits in the channel, where it is bounded. Cancelling the stream detaches the reader; an end
 * with an error is the stream's error.
 *
 * @example
 * ```ts
 * return new Response(toReadableStream(channel.reader()));
 * ```
 */
export function toReadableStream<T>(reader: Reader<T>): ReadableStream<T> {
  return new ReadableStream<T>(
    {
      async pull(controller) {
        if (!(await reader.ready())) {
          const end = reader.end;
          if (end !== undefined && 'error' in end) controller.error(end.error);
          else controller.close();
          return;
        }
        const item = reader.take();
        if (item !== undefined) controller.enqueue(item);
      },
      cancel() {
        reader.detach();
      },
    },
    { highWaterMark: 0 },
  );
}
