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
const zstdWindowLog = 23;

interface DecoderOptions {
  /** What comes out at once, in bytes. */
  readonly chunkSize: number;
  readonly highWaterMark?: number;
}

/** How a content coding is undone. */
export interface Decoder {
  /** Opens one for a body that begins with that byte. */
  readonly open: (firstByte: number, options: DecoderOptions) => Transform;
  /** What every body in it begins with, if there is such a thing. */
  readonly magic?: readonly number[];
  /** What it keeps of what it has decoded: of a body that is shorter, no more than that. */
  readonly windowBytes: number;
}

/** Each write gives all that can be decoded of it, as the other codings do by themselves. */
const flush = constants.Z_SYNC_FLUSH;

const gzip: Decoder = {
  open: (_firstByte, options) => createGunzip({ ...options, flush }),
  magic: [0x1f, 0x8b],
  windowBytes: 0,
};

/** How content codings are undone, by name: those of requests and of answers. */
export const decoders: Readonly<Record<string, Decoder>> = {
  gzip,
  'x-gzip': gzip,
  br: { open: (_firstByte, options) => createBrotliDecompress(options), windowBytes: 16_777_216 },
  zstd: {
    open: (_firstByte, options) =>
      createZstdDecompress({ ...options, params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLog } }),
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    windowBytes: 2 ** zstdWindowLog,
  },
  deflate: {
    // Some leave the header out that belongs there; its lower half is then nearly always another.
    open: (firstByte, options) =>
      ((firstByte & 0x0f) === 8 ? createInflate : createInflateRaw)({ ...options, flush }),
    windowBytes: 0,
  },
};
