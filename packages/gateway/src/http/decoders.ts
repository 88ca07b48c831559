import type { Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';

/** What a decoder of zstd may keep: 8 MiB, which RFC 9659 allows a coding of HTTP. */
export const zstdWindowLog = 23;

interface DecoderOptions {
  /** What comes out at once, in bytes. */
  readonly chunkSize: number;
  readonly highWaterMark?: number;
}

export type OpenDecoder = (firstByte: number, options: DecoderOptions) => Transform;

/** Each write gives all that can be decoded of it, as the other codings do by themselves. */
const flush = constants.Z_SYNC_FLUSH;

const gzip: OpenDecoder = (_firstByte, options) => createGunzip({ ...options, flush });

/** How content codings are undone, by name. */
export const decoders: Readonly<Record<string, OpenDecoder>> = {
  gzip,
  'x-gzip': gzip,
  br: (_firstByte, options) => createBrotliDecompress(options),
  zstd: (_firstByte, options) =>
    createZstdDecompress({ ...options, params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLog } }),
  // Some leave the header out that belongs there; its lower half is then nearly always another.
  deflate: (firstByte, options) =>
    ((firstByte & 0x0f) === 8 ? createInflate : createInflateRaw)({ ...options, flush }),
};
