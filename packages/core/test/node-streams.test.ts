import { once } from 'node:events';
import { createWriteStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, Readable, Writable } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { pipe, type PipeEnd, toNodeWritable } from '../src/index.ts';
import { within } from './support/within.ts';

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
      const end = await within(pipeTo(writable), 'the end');
      expect(end).toMatchObject({ state: 'cancelled', error: broken });
      await new Promise((resolve) => setTimeout(resolve));
      expect(writable.listenerCount('error')).toBe(0);
    });
  }

  describe('before anything, also with nothing to write', () => {
    const destroyed: Readonly<Record<string, () => Writable>> = {
      'with an error': () => new Writable().destroy(broken),
      'without one': () => new PassThrough().destroy(),
      'without a word': () => new Writable({ emitClose: false }).destroy(),
      'after its end': () => new PassThrough().resume().end(),
    };
    for (const [name, destroy] of Object.entries(destroyed)) {
      test(name, async () => {
        for (const waits of [false, true]) {
          for (const chunks of [[], ['a', 'b']]) {
            const writable = destroy();
            writable.on('error', () => undefined);
            // Then it has said all that it ever says.
            if (waits) await new Promise((resolve) => setTimeout(resolve, 5));
            const end = await pipe(Readable.from(chunks), { maxItems: 2 }, toNodeWritable<string>(writable));
            expect(end).toMatchObject({ state: 'cancelled', deliveredItems: 0 });
            if (name === 'with an error') expect(end).toMatchObject({ error: broken });
          }
        }
      });
    }

    test('nobody else listens for the error', async () => {
      expect(await pipeTo(new Writable().destroy(broken))).toMatchObject({
        state: 'cancelled',
        error: broken,
      });
    });

    test('the response to a client that has gone', async () => {
      const ended = Promise.withResolvers<PipeEnd>();
      const server = createServer((_request, response) => {
        response.on('close', () => {
          setImmediate(() => {
            ended.resolve(pipe(Readable.from([]), { maxItems: 2 }, toNodeWritable<string>(response)));
          });
        });
        response.flushHeaders();
      });
      onTestFinished(() => void server.close());
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const abort = new AbortController();
      await fetch(`http://127.0.0.1:${port}`, { signal: abort.signal });
      abort.abort();
      expect(await ended.promise).toMatchObject({ state: 'cancelled' });
    });
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

  test('because something fails that is not the sink', async () => {
    for (const options of [
      { maxBytes: 9, weigh: () => Number.NaN },
      { maxMs: 9, durationMs: () => -1 },
    ]) {
      const source = silent();
      source.push(1);
      const end = await pipe<number>(source, options, { write: () => undefined });
      expect(end).toMatchObject({ state: 'failed', error: { code: 'invalid_option' } });
      expect(source.destroyed).toBe(true);
    }
  });
});
