import { createCipheriv, createDecipheriv } from 'node:crypto';

const algorithm = 'aes-256-gcm';
/** Bytes of a record's nonce. */
export const nonceBytes = 12;
const tagBytes = 16;
/** Bytes of a stream's key. */
export const keyBytes = 32;

/** Whether a key was erased: overwritten with zeros. */
export function isErasedKey(key: Uint8Array): boolean {
  return key.every((byte) => byte === 0);
}

/**
 * Encrypts a record: nonce, ciphertext, tag. The key is of its stream alone. The record's place is covered, so that it
 * cannot stand for another one of the stream. `nonce`: 12 bytes that nobody has used with this key.
 */
export function encrypt(key: Uint8Array, nonce: Uint8Array, place: string, value: Uint8Array): Buffer {
  const cipher = createCipheriv(algorithm, key, nonce).setAAD(Buffer.from(place));
  return Buffer.concat([nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()]);
}

/** Decrypts a record. `undefined`: key, content or place are not those that it was written with. */
export function decrypt(key: Uint8Array, place: string, content: Uint8Array): Buffer | undefined {
  if (content.length < nonceBytes + tagBytes || key.length !== keyBytes) return undefined;
  const end = content.length - tagBytes;
  const decipher = createDecipheriv(algorithm, key, content.subarray(0, nonceBytes))
    .setAAD(Buffer.from(place))
    .setAuthTag(content.subarray(end));
  try {
    return Buffer.concat([decipher.update(content.subarray(nonceBytes, end)), decipher.final()]);
  } catch {
    return undefined;
  }
}

/** A record's place, as it is covered. */
export function placeOf(stream: string, seq: number): string {
  return `${stream}/${seq}`;
}
