import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

const prefix = 'sk-spillway-';
const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const base = BigInt(alphabet.length);
const keyBytes = 32;
/** Digits that 256 bits need, and 32. */
const keyDigits = 43;
const sumDigits = 6;

/**
 * Makes a key: `sk-spillway-`, 43 letters and digits of 256 random bits, and 6 of the CRC-32 of everything before them. A
 * scanner for secrets finds it by `sk-spillway-[0-9A-Za-z]{49}`, and by its sum tells it from what only looks like one.
 */
export function newKey(): string {
  const start = prefix + digitsOf(BigInt(`0x${randomBytes(keyBytes).toString('hex')}`), keyDigits);
  return start + digitsOf(BigInt(crc32(start)), sumDigits);
}

function digitsOf(value: bigint, length: number): string {
  let digits = '';
  for (let rest = value; digits.length < length; rest /= base)
    digits = alphabet[Number(rest % base)] + digits;
  return digits;
}
