import { brotliCompressSync, constants, gzipSync, zstdCompressSync } from 'node:zlib';
import { type Assault, request } from '../assault.ts';

const megabyte = 1_000_000;

/** Sends a few bytes with a key that are megabytes when they are decoded, more than a body may have, or nothing. */
export function compressedBodies(assault: Assault): void {
  const { host, target } = assault;
  const json = (bytes: number): Buffer => Buffer.from(`{"model":"evil/swallow","x":"${'x'.repeat(bytes)}"}`);
  const large = json(40 * megabyte);
  const gzip = gzipSync(large, { level: 1 });
  const bodies: (readonly [coding: string, bytes: Buffer])[] = [
    ['gzip', gzip],
    ['gzip', gzip.subarray(0, -100)],
    ['br', brotliCompressSync(large, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })],
    ['zstd', zstdCompressSync(large)],
    ['zstd', zstdCompressSync(json(8 * megabyte))],
    ['gzip', gzipSync(json(megabyte))],
    ['deflate', Buffer.alloc(10_000, 'x')],
  ];
  let count = 0;
  assault.keep(12, 2, () => {
    const [coding, bytes] = bodies[count % bodies.length] ?? ['', Buffer.alloc(0)];
    count += 1;
    const head = request('POST', '/v1/chat/completions', {
      host,
      authorization: `Bearer ${target.key}`,
      'content-type': 'application/json',
      'content-encoding': coding,
      'content-length': String(bytes.length),
      connection: 'close',
    });
    return assault.connect(Buffer.concat([Buffer.from(head), bytes]), { reads: true });
  });
}
