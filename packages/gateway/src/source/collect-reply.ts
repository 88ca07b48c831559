import { GatewayError } from '@spillway/server/errors';
import { undoCodings } from './codings.ts';
import { GrowingBytes } from './growing-bytes.ts';
import type { Reply } from './reply.ts';

/**
 * Reads a whole body into memory, decoded. `onGrow` is called with a number of bytes before they are
 * allocated. If it throws, reading stops.
 *
 * @throws {GatewayError} `upstream_invalid` when the body has more than `maxBytes`, `upstream_timeout` when
 *   it is not whole after `timeoutMs`. The rest is then not read.
 * @throws the provider's error when the body is cut.
 */
export async function collectReply(
  reply: Reply,
  maxBytes: number,
  timeoutMs: number,
  onGrow: (bytes: number) => void = () => undefined,
): Promise<Buffer> {
  const timer = setTimeout(() => {
    reply.cancel(
      new GatewayError('upstream_timeout', `The provider's answer was not whole after ${timeoutMs} ms.`),
    );
  }, timeoutMs);
  try {
    await undoCodings(reply);
    return await collect(reply, maxBytes, onGrow);
  } finally {
    clearTimeout(timer);
  }
}

function collect(reply: Reply, maxBytes: number, onGrow: (bytes: number) => void): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const body = new GrowingBytes(maxBytes, onGrow);
    const add = (bytes: Buffer): void => {
      if (body.length + bytes.length > maxBytes) {
        throw new GatewayError('upstream_invalid', `The provider's answer has more than ${maxBytes} bytes.`);
      }
      body.add(bytes);
    };
    reply.consume({
      data(bytes, start, end) {
        try {
          add(bytes.subarray(start, end));
        } catch (error) {
          reject(error);
          reply.cancel(error as Error);
        }
      },
      complete: () => resolve(body.bytes),
      fail: reject,
    });
  });
}
