import { randomUUID } from 'node:crypto';

const linear = 1;

/** A form, as a request has it. */
export interface SentForm {
  readonly contentType: string;
  readonly body: Uint8Array<ArrayBuffer>;
}

/**
 * A form with fields and, as `file`, a WAV file of audio with 16 bits, mono. It is bytes and no `FormData`: of one that an answer comes to
 * before it was sent, or that is aborted, Node's `fetch` rejects a promise that nobody has, which ends the process.
 */
export function wavForm(
  fields: Readonly<Record<string, string>>,
  sampleRateHz: number,
  pieces: readonly Uint8Array[],
): SentForm {
  // A name that is in no field and in no audio.
  const boundary = randomUUID();
  const parts = Object.entries(fields).map(
    ([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  );
  const file = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="speech.wav"\r\nContent-Type: audio/wav\r\n\r\n`;
  const body = Buffer.concat([
    Buffer.from(parts.join('') + file),
    wavHeader(
      sampleRateHz,
      pieces.reduce((sum, piece) => sum + piece.byteLength, 0),
    ),
    ...pieces,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
  return { contentType: `multipart/form-data; boundary=${boundary}`, body };
}

function wavHeader(sampleRateHz: number, bytes: number): Buffer {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0, 'latin1');
  header.writeUInt32LE(header.byteLength - 8 + bytes, 4);
  header.write('WAVEfmt ', 8, 'latin1');
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(linear, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(sampleRateHz, 24);
  header.writeUInt32LE(sampleRateHz * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36, 'latin1');
  header.writeUInt32LE(bytes, 40);
  return header;
}
