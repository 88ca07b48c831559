import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib';

/** The most that a body may become. What becomes more is not worth reading, or an attack. */
const maxOutputLength = 65_536;

/**
 * A body without the codings that its `Content-Encoding` names; `undefined` if that cannot be done: a coding is not known,
 * the bytes are not in it, or more than 64 KiB come out.
 */
export function decompressed(body: Buffer, encodings = 'identity'): Buffer | undefined {
  let plain = body;
  // The last one that is named was applied last.
  for (const encoding of encodings.toLowerCase().split(',').toReversed()) {
    const read = codings.get(encoding.trim());
    if (read === undefined) return undefined;
    try {
      plain = read(plain);
    } catch {
      return undefined;
    }
  }
  return plain;
}

const limits = { maxOutputLength } as const;

const codings: ReadonlyMap<string, (bytes: Buffer) => Buffer> = new Map([
  ['', (bytes) => bytes],
  ['identity', (bytes) => bytes],
  ['none', (bytes) => bytes],
  ['gzip', (bytes) => gunzipSync(bytes, limits)],
  ['x-gzip', (bytes) => gunzipSync(bytes, limits)],
  ['br', (bytes) => brotliDecompressSync(bytes, limits)],
  ['zstd', (bytes) => zstdDecompressSync(bytes, limits)],
  // With the head that RFC 9110 (8.4.1.2) wants, and without it, as some send it.
  ['deflate', (bytes) => ((bytes[0] ?? 0) % 16 === 8 ? inflateSync : inflateRawSync)(bytes, limits)],
]);
