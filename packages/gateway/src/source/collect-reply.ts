import { GatewayError } from '../errors.ts';
import type { Reply } from './reply.ts';

/**
 * Reads a whole body into memory.
 *
 * @throws {GatewayError} `upstream_invalid` when it has more than `maxBytes`, `upstream_timeout` when it is not whole after
 *   `timeoutMs`; the rest is not read.
 * @throws the provider's error when the body is cut.
 */
export async function collectReply(reply: Reply, maxBytes: number, timeoutMs: number): Promise<Buffer> {
  const timer = setTimeout(() => {
    reply.abort(
      new GatewayError('upstream_timeout', `The provider's answer was not whole after ${timeoutMs} ms.`),
    );
  }, timeoutMs);
  try {
    return await collect(reply, maxBytes);
  } finally {
    clearTimeout(timer);
  }
}

function collect(reply: Reply, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    reply.consume({
      data(bytes, start, end) {
        length += end - start;
        if (length <= maxBytes) {
          chunks.push(Buffer.from(bytes.subarray(start, end)));
          return;
        }
        const error = new GatewayError(
          'upstream_invalid',
          `The provider's answer has more than ${maxBytes} bytes.`,
        );
        reject(error);
        reply.abort(error);
      },
      end: () => resolve(Buffer.concat(chunks, length)),
      fail: reject,
    });
  });
}
