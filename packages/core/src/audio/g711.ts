/**
 * ITU-T G.711 (1988): sixteen bits of a linear sample in eight, by a logarithmic scale of eight segments. Written after the
 * recommendation's tables 1 and 2.
 */

/** A µ-law sample's magnitude is shifted by this, so that each segment begins at a power of two. In 16 bits. */
const mulawBias = 132;
/** The largest magnitude that µ-law can say: 8,159 in the recommendation's 14 bits. */
const mulawClip = 32_635;

const mulawValues = Int16Array.from({ length: 256 }, (_, byte) => mulawValue(byte));
const alawValues = Int16Array.from({ length: 256 }, (_, byte) => alawValue(byte));

/** Linear samples of µ-law bytes. */
export function decodeMulaw(bytes: Uint8Array): Int16Array<ArrayBuffer> {
  return decode(bytes, mulawValues);
}

/** Linear samples of A-law bytes. */
export function decodeAlaw(bytes: Uint8Array): Int16Array<ArrayBuffer> {
  return decode(bytes, alawValues);
}

/** µ-law bytes of linear samples. Samples beyond 32,635 are clipped. */
export function encodeMulaw(samples: Int16Array): Uint8Array<ArrayBuffer> {
  return encode(samples, mulawByte);
}

/** A-law bytes of linear samples. */
export function encodeAlaw(samples: Int16Array): Uint8Array<ArrayBuffer> {
  return encode(samples, alawByte);
}

function decode(bytes: Uint8Array, values: Int16Array): Int16Array<ArrayBuffer> {
  const samples = new Int16Array(bytes.length);
  for (let index = 0; index < bytes.length; index += 1) samples[index] = values[bytes[index] ?? 0] ?? 0;
  return samples;
}

function encode(samples: Int16Array, byteOf: (sample: number) => number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(samples.length);
  for (let index = 0; index < samples.length; index += 1) bytes[index] = byteOf(samples[index] ?? 0);
  return bytes;
}

function mulawValue(byte: number): number {
  const inverted = ~byte & 0xff;
  const magnitude = (((inverted & 0x0f) << 3) + mulawBias) << ((inverted & 0x70) >> 4);
  return inverted & 0x80 ? mulawBias - magnitude : magnitude - mulawBias;
}

function mulawByte(sample: number): number {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(sample), mulawClip) + mulawBias;
  // The segment is the place of the highest bit, from bit 7 on.
  const segment = 24 - Math.clz32(magnitude);
  return ~(sign | (segment << 4) | ((magnitude >> (segment + 3)) & 0x0f)) & 0xff;
}

function alawValue(byte: number): number {
  const even = byte ^ 0x55;
  const segment = (even & 0x70) >> 4;
  const step = ((even & 0x0f) << 4) + 8;
  const magnitude = segment === 0 ? step : (step + 0x100) << (segment - 1);
  return even & 0x80 ? magnitude : -magnitude;
}

function alawByte(sample: number): number {
  const sign = sample < 0 ? 0 : 0x80;
  // Magnitudes of negative samples are one smaller: −1 lies in the first step below zero.
  const magnitude = sample < 0 ? ~sample : sample;
  const segment = Math.max(0, 24 - Math.clz32(magnitude));
  const step = (magnitude >> (segment === 0 ? 4 : segment + 3)) & 0x0f;
  return (sign | (segment << 4) | step) ^ 0x55;
}
