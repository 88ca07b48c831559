import { once } from 'node:events';
import { createWriteStream, existsSync } from 'node:fs';
import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import { PassThrough, Readable, Writable } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { pipe, type PipeEnd, type Sink, type Source, toNodeWritable } from '../src/index.ts';
import { openSink } from '../src/sink/sink.ts';
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

describe('what is no sink is refused before anything is read, and the message says what is one', () => {
  const nodeStream = 'got a Node stream: hand over toNodeWritable(stream).';
  const cases: Readonly<Record<string, readonly [sink: unknown, message: string]>> = {
    'a Node stream': [new Writable(), nodeStream],
    'one that is read, too': [new PassThrough(), nodeStream],
    'a socket': [new Socket(), nodeStream],
    'the output of the process': [process.stdout, nodeStream],
    'a function': [(): void => undefined, 'got a function: hand over { write }.'],
    nothing: [undefined, 'got undefined.'],
    null: [null, 'got null.'],
    'a text': ['file.txt', 'got string.'],
    'an object without write': [{ close: () => undefined }, 'got an object without.'],
    'an object whose write is none': [{ write: true }, 'got an object without.'],
  };
  for (const [name, [sink, message]] of Object.entries(cases)) {
    test(name, async () => {
      const error = { code: 'invalid_option', message: expect.stringContaining(message) as string };
      const source = Readable.from(['a']);
      await expect(pipe(source, { maxItems: 2 }, sink as Sink<string>)).rejects.toMatchObject(error);
      expect(source.readableFlowing).toBe(null);
      expect(() => openSink(sink as Sink<string>)).toThrow(message);
    });
  }

  test('a ServerResponse', async () => {
    const response = new ServerResponse(new IncomingMessage(new Socket()));
    const refused = pipe(Readable.from(['a']), { maxItems: 2 }, response as unknown as Sink<string>);
    await expect(refused).rejects.toThrow(nodeStream);
  });
});

test('what is no source is refused, such as the body of a response that has none', async () => {
  for (const [source, came] of [
    [new Response(null).body, 'null'],
    [undefined, 'undefined'],
    [['a'], 'an object that is neither'],
  ] as const) {
    const message = `source: expected an async iterable or a ReadableStream, got ${came}.`;
    const refused = pipe(source as unknown as Source<string>, { maxItems: 2 }, { write: () => undefined });
    await expect(refused).rejects.toMatchObject({ code: 'invalid_option', message });
  }
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
