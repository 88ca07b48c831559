import { GatewayError } from '../errors.ts';
import type { Reply } from './reply.ts';

/**
 * Reads a whole body into memory.
 *
 * @throws {GatewayError} `upstream_invalid` when it has more than `maxBytes`; the rest is not read.
 * @throws the provider's error when the body is cut.
 */
export function collectReply(reply: Reply, maxBytes: number): Promise<Buffer> {
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
