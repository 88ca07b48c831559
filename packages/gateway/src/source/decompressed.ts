import { isUtf8 } from 'node:buffer';
import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import { unknownCodings } from './codings.ts';

/** The most that a body may become. What becomes more is not worth reading, or an attack. */
const maxOutputLength = 1_048_576;

/**
 * A body without the codings that its `Content-Encoding` names; `undefined` if that cannot be done: a coding is not known, the
 * bytes are broken, or more than 1 MiB comes out. As for streams, a word that is no coding is none, and a body that is not
 * coded as its head says is left as it is.
 */
export function decompressed(body: Buffer, encodings = 'identity'): Buffer | undefined {
  let plain = body;
  // The last one that is named was applied last.
  for (const encoding of encodings.toLowerCase().split(',').toReversed()) {
    const name = encoding.trim();
    if (unknownCodings.has(name)) return undefined;
    const read = codings.get(name);
    if (read === undefined) continue;
    try {
      plain = read(plain);
    } catch {
      if (!isUtf8(plain)) return undefined;
    }
  }
  return plain;
}

const limits = { maxOutputLength } as const;

const codings: ReadonlyMap<string, (bytes: Buffer) => Buffer> = new Map([
  ['gzip', (bytes) => gunzipSync(bytes, limits)],
  ['x-gzip', (bytes) => gunzipSync(bytes, limits)],
  ['br', (bytes) => brotliDecompressSync(bytes, limits)],
  ['zstd', (bytes) => zstdDecompressSync(bytes, limits)],
  // With the head that RFC 9110 (8.4.1.2) wants, and without it, as some send it.
  ['deflate', (bytes) => ((bytes[0] ?? 0) % 16 === 8 ? inflateSync : inflateRawSync)(bytes, limits)],
]);
