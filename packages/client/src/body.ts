import { ClientError } from './errors.ts';
import type { SessionStream } from './session-stream.ts';

/**
 * Turns a stream into the body of a `Response`. Nothing is read ahead: the body takes and acknowledges only the chunks
 * that its consumer asks for.
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
          stream.endAsAsked();
          // A body cannot say that chunks are missing.
          throw new ClientError(
            'protocol_error',
            `The chunks ${value.from} to ${value.to} are missing.`,
            value.from,
          );
        }
      },
      cancel: () => stream.endAsAsked(),
    },
    { highWaterMark: 0 },
  );
}
