import { ClientError } from './errors.ts';
import type { SessionStream } from './session-stream.ts';

/**
 * A stream as the body of a `Response`. Nothing is read ahead: only what the consumer asks for leaves the stream, and
 * only that is acknowledged.
 */
export function toBody(stream: SessionStream): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await stream.next();
        if (done === true) {
          controller.close();
        } else if (value.type === 'chunk') {
          controller.enqueue(value.bytes as Uint8Array<ArrayBuffer>);
        } else {
          stream.leave();
          // A body cannot say that something is missing.
          throw new ClientError(
            'protocol_error',
            `The chunks ${value.from} to ${value.to} are missing.`,
            value.from,
          );
        }
      },
      cancel: () => stream.leave(),
    },
    { highWaterMark: 0 },
  );
}
