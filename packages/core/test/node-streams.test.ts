import { PassThrough, Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { pipe, toNodeWritable } from '../src/index.ts';

test('pipe reads from and writes to Node streams', async () => {
  const writable = new PassThrough({ objectMode: true, highWaterMark: 1 });
  const items: number[] = [];
  writable.on('data', (item: number) => items.push(item));
  const end = await pipe<number>(Readable.from([1, 2, 3]), { maxItems: 2 }, toNodeWritable<number>(writable));
  expect(end.state).toBe('completed');
  expect(items).toEqual([1, 2, 3]);
  expect(writable.writableFinished).toBe(true);
});
