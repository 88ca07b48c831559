import type { Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';

/** The largest window of a zstd decoder: 8 MiB, the maximum of RFC 9659 for HTTP. */
const zstdWindowLog = 23;

interface DecoderOptions {
  /** The most decoded bytes of one step. */
  readonly chunkSize: number;
  readonly highWaterMark?: number;
}

/** A content coding, as it is decoded. */
export interface Decoder {
  /** Opens a decoder for a body that begins with that byte. */
  readonly open: (firstByte: number, options: DecoderOptions) => Transform;
  /** The bytes that every body in this coding begins with, if there are any. */
  readonly magic?: readonly number[];
  /** The most decoded bytes that the decoder keeps, its window. It keeps no more than it has decoded. */
  readonly windowBytes: number;
}

/** Every write gives all bytes that can be decoded from it. The other decoders do that by default. */
const flush = constants.Z_SYNC_FLUSH;

const gzip: Decoder = {
  open: (_firstByte, options) => createGunzip({ ...options, flush }),
  magic: [0x1f, 0x8b],
  windowBytes: 0,
};

/** The decoders by the name of their coding, for requests and for answers. */
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
    // Some senders leave out the zlib header. The lower half of the first byte is then nearly always not 8.
    open: (firstByte, options) =>
      ((firstByte & 0x0f) === 8 ? createInflate : createInflateRaw)({ ...options, flush }),
    windowBytes: 0,
  },
};
