import { createWriteStream, existsSync } from 'node:fs';
import { PassThrough, Readable, Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
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

describe('a Node stream that fails fails the pipe, and not the process', () => {
  const broken = new Error('disk full');
  const pipeTo = (writable: Writable) =>
    pipe<string>(Readable.from(['a', 'b', 'c']), { maxItems: 2 }, toNodeWritable<string>(writable));
  const cases: Readonly<Record<string, Writable>> = {
    'at a write': new Writable({ write: (_chunk, _encoding, done) => done(broken) }),
    'at the last flush': new Writable({
      write: (_chunk, _encoding, done) => done(),
      final: (done) => done(broken),
    }),
    'by itself, with a write that never ends': new Writable({
      write() {
        setImmediate(() => this.destroy(broken));
      },
    }),
    'by itself, with a flush that never ends': new Writable({
      write: (_chunk, _encoding, done) => done(),
      final() {
        setImmediate(() => this.destroy(broken));
      },
    }),
  };
  for (const [name, writable] of Object.entries(cases)) {
    test(name, async () => {
      expect(await pipeTo(writable)).toMatchObject({ state: 'cancelled', error: broken });
      await new Promise((resolve) => setTimeout(resolve));
      expect(writable.listenerCount('error')).toBe(0);
    });
  }

  test('before anything', async () => {
    expect(await pipeTo(new Writable().destroy(broken))).toMatchObject({ state: 'cancelled' });
  });

  test('closed by somebody else', async () => {
    const writable = new Writable({
      write() {
        setImmediate(() => this.destroy());
      },
    });
    expect(await pipeTo(writable)).toMatchObject({ state: 'cancelled' });
  });

  test('a real file on a full disk', async () => {
    if (!existsSync('/dev/full')) return;
    expect(await pipeTo(createWriteStream('/dev/full'))).toMatchObject({
      state: 'cancelled',
      error: { code: 'ENOSPC' },
    });
  });
});

test('a stream that was written to leaves no listener behind', async () => {
  const writable = new PassThrough().resume();
  await pipe<string>(Readable.from(['a']), { maxItems: 2 }, toNodeWritable<string>(writable));
  await new Promise((resolve) => setTimeout(resolve));
  expect(writable.listenerCount('error')).toBe(0);
  expect(writable.listenerCount('close')).toBe(0);
});

describe('a pipe that ends early destroys a Node stream that it reads', () => {
  const silent = (): Readable => new Readable({ objectMode: true, read: () => undefined });

  test('which says nothing', async () => {
    const abort = new AbortController();
    const source = silent();
    const ended = pipe(source, { maxItems: 2, signal: abort.signal }, { write: () => undefined });
    await new Promise((resolve) => setTimeout(resolve, 1));
    abort.abort(new Error('enough'));
    expect(await ended).toMatchObject({ state: 'cancelled', error: { message: 'enough' } });
    expect(source.destroyed).toBe(true);
  });

  test('and of which nothing was read', async () => {
    const source = silent();
    await pipe(source, { maxItems: 2, signal: AbortSignal.abort() }, { write: () => undefined });
    expect(source.destroyed).toBe(true);
  });
});
