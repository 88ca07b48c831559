import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import type { Content } from './tap-record.ts';

export function bytesIn(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

/** Content as a record has it: itself, or where it is too large, its size and digest. */
export function contentOf(parts: readonly Uint8Array[], isTooLarge: boolean): Content {
  if (isTooLarge) {
    const hash = createHash('sha256');
    for (const part of parts) hash.update(part);
    return { bytes: bytesIn(parts), sha256: hash.digest('hex') };
  }
  const [only = new Uint8Array()] = parts;
  const bytes =
    parts.length > 1 ? Buffer.concat(parts) : Buffer.from(only.buffer, only.byteOffset, only.byteLength);
  return isUtf8(bytes)
    ? { data: bytes.toString('utf8') }
    : { data: bytes.toString('base64'), encoding: 'base64' };
}
