/** What a WAV file has that is not as a telephone has it. */
export interface Wav {
  readonly tag?: number;
  readonly channels?: number;
  readonly rate?: number;
  readonly bits?: number;
  readonly size?: number;
  readonly before?: Buffer;
  readonly extension?: Buffer;
}

/** A WAV file, written by hand. */
export function wav(
  data: Uint8Array,
  {
    before = Buffer.alloc(0),
    bits = 8,
    channels = 1,
    extension = Buffer.alloc(0),
    rate = 8000,
    size,
    tag = 7,
  }: Wav = {},
): Buffer {
  const format = Buffer.alloc(16);
  format.writeUInt16LE(tag, 0);
  format.writeUInt16LE(channels, 2);
  format.writeUInt32LE(rate, 4);
  format.writeUInt32LE((rate * channels * bits) / 8, 8);
  format.writeUInt16LE((channels * bits) / 8, 12);
  format.writeUInt16LE(bits, 14);
  const body = Buffer.concat([
    Buffer.from('WAVE'),
    chunk('fmt ', Buffer.concat([format, extension])),
    before,
    chunk('data', Buffer.from(data), size),
  ]);
  return chunk('RIFF', body);
}

/** A chunk of such a file. */
export function chunk(name: string, data: Buffer, size = data.byteLength): Buffer {
  const head = Buffer.alloc(8);
  head.write(name, 0, 'latin1');
  head.writeUInt32LE(size, 4);
  return Buffer.concat([head, data, Buffer.alloc(data.byteLength % 2)]);
}
