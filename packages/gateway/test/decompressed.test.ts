import { brotliCompressSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { decompressed } from '../src/source/decompressed.ts';

const words = Buffer.from('{"error":{"message":"Größe"}}');

test.each([
  ['a word that is no coding', 'utf-8', words],
  ['none', 'none, identity', words],
  ['a coding that the body is not in', 'gzip', words],
  ['a coding', 'gzip', gzipSync(words)],
  ['two codings, and a word', 'gzip, br, utf-8', brotliCompressSync(gzipSync(words))],
])('a refusal says its words in %s', (_what, encoding, body) => {
  expect(decompressed(body, encoding)?.toString()).toBe(words.toString());
});

test('what is larger without its coding is read up to 1 MiB', () => {
  expect(decompressed(gzipSync(Buffer.alloc(1_048_576)), 'gzip')).toHaveLength(1_048_576);
  expect(decompressed(gzipSync(Buffer.alloc(1_048_577)), 'gzip')).toBeUndefined();
});

test('what is in a coding that nobody knows, or broken, has no words', () => {
  expect(decompressed(words, 'compress')).toBeUndefined();
  expect(decompressed(gzipSync(words).subarray(0, 20), 'gzip')).toBeUndefined();
});
