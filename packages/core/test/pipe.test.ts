import { describe, expect, test } from 'vitest';
import {
  createTransformStream,
  Gap,
  openChannel,
  pipe,
  toReadableStream,
  toWritableStream,
} from '../src/index.ts';
import { within } from './support/within.ts';

async function* numbers(count: number, onReturn?: () => void): AsyncGenerator<number> {
  try {
    for (let item = 0; item < count; item += 1) yield item;
  } finally {
    onReturn?.();
  }
}

function collect(): {
  items: number[];
  ends: string[];
  write: (item: number) => void;
  close: () => void;
  abort: (error: Error) => void;
} {
  const items: number[] = [];
  const ends: string[] = [];
  return {
    items,
    ends,
    write: (item) => void items.push(item),
    close: () => void ends.push('close'),
    abort: (error) => void ends.push(`abort: ${error.message}`),
  };
}

const first = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

describe('pipe', () => {
  test('carries everything, in order, and closes the sink', async () => {
    const sink = collect();
    const end = await pipe(numbers(100), { maxItems: 3 }, sink);
    expect(end).toEqual({ state: 'completed', writtenItems: 100, deliveredItems: 100, droppedItems: 0 });
    expect(sink.items).toEqual(first(100));
    expect(sink.ends).toEqual(['close']);
  });

  test('reads ahead of a slow sink by no more than the bound', async () => {
    let made = 0;
    let taken = 0;
    let ahead = 0;
    async function* source(): AsyncGenerator<number> {
      for (; made < 50; made += 1) {
        ahead = Math.max(ahead, made - taken);
        yield made;
      }
    }
    const write = async (): Promise<void> => {
      taken += 1;
      await new Promise((resolve) => setTimeout(resolve, 1));
    };
    await pipe(source(), { maxItems: 4 }, { write });
    // Four wait, one is in the source's hand.
    expect(ahead).toBeLessThanOrEqual(5);
    expect(taken).toBe(50);
  });

  test('reads from and writes to WHATWG streams', async () => {
    const items: number[] = [];
    const writable = new WritableStream<number>({ write: (item) => void items.push(item) });
    const readable = new ReadableStream<number>({
      start(controller) {
        for (const item of first(20)) controller.enqueue(item);
        controller.close();
      },
    });
    const end = await pipe(readable, { maxItems: 3 }, writable);
    expect(readable.locked).toBe(false);
    expect(end.state).toBe('completed');
    expect(items).toEqual(first(20));
    await expect(writable.getWriter().closed).resolves.toBeUndefined();
  });

  test('a source that fails aborts the sink, behind what it had written', async () => {
    async function* source(): AsyncGenerator<number> {
      yield* [0, 1, 2];
      throw new Error('cut');
    }
    const sink = collect();
    const end = await pipe(source(), { maxItems: 9 }, sink);
    expect(end).toMatchObject({ state: 'failed', error: { message: 'cut' }, deliveredItems: 3 });
    expect(sink.items).toEqual([0, 1, 2]);
    expect(sink.ends).toEqual(['abort: cut']);
  });

  test('a sink that fails cancels the source at once', async () => {
    let isReturned = false;
    const sink = {
      write: (item: number) => {
        if (item === 5) throw new Error('disk full');
      },
    };
    const end = await pipe(
      numbers(1_000_000, () => (isReturned = true)),
      { maxItems: 3 },
      sink,
    );
    expect(end).toMatchObject({ state: 'cancelled', error: { message: 'disk full' } });
    expect(isReturned).toBe(true);
    expect(end.writtenItems).toBeLessThan(20);
  });

  test('the signal cancels both sides, also while the source hangs and the sink hangs', async () => {
    for (const hangs of ['source', 'sink'] as const) {
      const abort = new AbortController();
      const cancelled: unknown[] = [];
      let sent = 0;
      const source = new ReadableStream<number>({
        pull(controller) {
          sent += 1;
          if (hangs === 'source' && sent > 2) return new Promise<void>(() => undefined);
          controller.enqueue(sent);
          return undefined;
        },
        cancel: (reason) => void cancelled.push(reason),
      });
      const sink = collect();
      const pending: (() => void)[] = [];
      const write = async (item: number): Promise<void> => {
        sink.write(item);
        if (hangs === 'sink') await new Promise<void>((resolve) => pending.push(resolve));
      };
      const ended = pipe(source, { maxItems: 2, signal: abort.signal }, { ...sink, write });
      while (sink.items.length < (hangs === 'source' ? 2 : 1))
        await new Promise((resolve) => setTimeout(resolve, 1));
      const reason = new Error('enough');
      abort.abort(reason);
      for (const resolve of pending) resolve();
      expect(await ended).toMatchObject({ state: 'cancelled', error: reason });
      expect(cancelled).toEqual([reason]);
      expect(sink.ends).toEqual(['abort: enough']);
    }
  });

  test('the signal does not wait for an iterator that never answers', async () => {
    const abort = new AbortController();
    const source: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise<never>(() => undefined),
        return: () => new Promise<never>(() => undefined),
      }),
    };
    const sink = collect();
    const ended = pipe(source, { maxItems: 2, signal: abort.signal }, sink);
    await new Promise((resolve) => setTimeout(resolve, 1));
    abort.abort(new Error('enough'));
    expect(await ended).toMatchObject({ state: 'cancelled', error: { message: 'enough' } });
    expect(sink.ends).toEqual(['abort: enough']);
  });

  test('an overflow policy loses chunks and says so; the sink gets only chunks', async () => {
    const gaps: Gap[] = [];
    const items: number[] = [];
    const write = async (item: number): Promise<void> => {
      items.push(item);
      await new Promise((resolve) => setTimeout(resolve, 2));
    };
    const options = { maxItems: 2, overflow: 'drop-oldest', onGap: (gap: Gap) => gaps.push(gap) } as const;
    const end = await pipe(numbers(200), options, { write });
    const missed = gaps.reduce((sum, { from, to }) => sum + to - from, 0);
    expect(end).toMatchObject({ state: 'completed', writtenItems: 200, droppedItems: missed });
    expect(missed + items.length).toBe(200);
    expect(missed).toBeGreaterThan(0);
  });

  test('a sink that may not fall behind ends the source when it does', async () => {
    for (const [overflow, code] of [
      ['error', 'reader_overflow'],
      ['disconnect', undefined],
    ] as const) {
      let isReturned = false;
      const write = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
      const end = await pipe(
        numbers(1000, () => (isReturned = true)),
        { maxItems: 2, overflow },
        { write },
      );
      expect(end.state).toBe('failed');
      if (code !== undefined) expect(end).toMatchObject({ error: { code } });
      expect(isReturned).toBe(true);
    }
  });
});

describe('a pipe never rejects', () => {
  const locked = new ReadableStream<number>();
  locked.getReader();
  test.each<[string, AsyncIterable<number> | ReadableStream<number>]>([
    [
      'opened',
      {
        [Symbol.asyncIterator]: () => {
          throw new Error('closed');
        },
      },
    ],
    ['read by two', locked],
  ])('for a source that cannot be %s', async (_how, source) => {
    const sink = collect();
    const end = await pipe(source, { maxItems: 2 }, sink);
    expect(end).toMatchObject({ state: 'failed', writtenItems: 0, deliveredItems: 0 });
    expect(sink.ends).toHaveLength(1);
  });

  test('for a sink that cannot be written to by two, and cancels its source', async () => {
    const writable = new WritableStream<number>();
    writable.getWriter();
    let isReturned = false;
    const end = await pipe(
      numbers(9, () => (isReturned = true)),
      { maxItems: 2 },
      writable,
    );
    expect(end).toMatchObject({ state: 'cancelled', deliveredItems: 0 });
    expect(isReturned).toBe(true);
  });

  test('and does not count as delivered what its sink refused', async () => {
    const write = (item: number): void => {
      if (item === 2) throw new Error('disk full');
    };
    expect(await pipe(numbers(9), { maxItems: 2 }, { write })).toMatchObject({ deliveredItems: 2 });
  });
});

describe('toReadableStream', () => {
  test('takes only what is asked for', async () => {
    const channel = openChannel<number>({ maxItems: 5 });
    const reader = channel.reader();
    const stream = toReadableStream(reader);
    for (const item of [1, 2, 3]) channel.offer(item);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(reader.deliveredItems).toBe(0);
    const consumer = stream.getReader();
    expect(await consumer.read()).toEqual({ done: false, value: 1 });
    expect(reader.deliveredItems).toBe(1);
    channel.complete();
    expect((await consumer.read()).value).toBe(2);
    expect((await consumer.read()).value).toBe(3);
    expect((await consumer.read()).done).toBe(true);
  });

  test('passes on errors, and cancel as detach', async () => {
    const failing = openChannel<number>({ maxItems: 5 });
    const failed = toReadableStream(failing.reader()).getReader();
    failing.fail(new Error('cut'));
    await expect(failed.read()).rejects.toThrow('cut');
    const channel = openChannel<number>({ maxItems: 5 });
    const reader = channel.reader();
    await toReadableStream(reader).cancel();
    expect(reader.end).toEqual({ state: 'detached' });
    expect(channel.end).toBeUndefined();
  });
});

describe('toWritableStream', () => {
  test('waits for room, and holds nothing but the chunk that is being written', async () => {
    const channel = openChannel<number>({ maxItems: 2 });
    const reader = channel.reader();
    let pulled = 0;
    const source = new ReadableStream<number>(
      {
        pull(controller) {
          controller.enqueue(pulled);
          pulled += 1;
          if (pulled === 10) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    const piped = source.pipeTo(toWritableStream(channel));
    await new Promise((resolve) => setTimeout(resolve, 20));
    // Two wait, one is being written.
    expect(pulled).toBeLessThanOrEqual(4);
    const items: number[] = [];
    for await (const item of reader) items.push(item);
    await piped;
    expect(items).toEqual(first(10));
    expect(channel.end).toEqual({ state: 'completed' });
  });

  test('an abort fails the channel, also while a write waits', async () => {
    const channel = openChannel<number>({ maxItems: 1 });
    const reader = channel.reader();
    const writer = toWritableStream(channel).getWriter();
    await writer.write(1);
    const waiting = expect(writer.write(2)).rejects.toThrow('cut');
    const closed = expect(writer.closed).rejects.toThrow('cut');
    const cut = new Error('cut');
    await writer.abort(cut);
    await waiting;
    await closed;
    expect(reader.take()).toBe(1);
    expect(reader.end).toEqual({ state: 'failed', error: cut });
  });

  test('a cancelled channel fails the next write', async () => {
    const channel = openChannel<number>({ maxItems: 1 });
    const writer = toWritableStream(channel).getWriter();
    const closed = expect(writer.closed).rejects.toMatchObject({ code: 'channel_cancelled' });
    channel.cancel();
    await expect(writer.write(1)).rejects.toMatchObject({ code: 'channel_cancelled' });
    await closed;
  });
});

describe('createTransformStream', () => {
  const source = (count: number): ReadableStream<number> => {
    let item = 0;
    return new ReadableStream<number>({
      pull(controller) {
        if (item === count) controller.close();
        else controller.enqueue(item);
        item += 1;
      },
    });
  };

  test('carries everything, merged for whoever lags', async () => {
    const merge = (a: string, b: string): string => a + b;
    const { readable, writable } = createTransformStream<string>(
      { maxBytes: 100, weigh: (text) => text.length, merge },
      { overflow: 'coalesce' },
    );
    const writer = writable.getWriter();
    for (const letter of 'abcdef') await writer.write(letter);
    const reader = readable.getReader();
    expect(await reader.read()).toEqual({ done: false, value: 'abcdef' });
    await writer.close();
    expect((await reader.read()).done).toBe(true);
  });

  test('gaps come out among the chunks', async () => {
    const through = createTransformStream<number>({ maxItems: 2 }, { overflow: 'drop-oldest' });
    const writer = through.writable.getWriter();
    for (const item of first(5)) await writer.write(item);
    await writer.close();
    const items: (number | Gap)[] = [];
    const reader = through.readable.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) items.push(next.value);
    expect(items).toEqual([new Gap(0, 3, 0, 'drop-oldest'), 3, 4]);
  });

  test('cancelling what comes out cancels the source', async () => {
    const pair = createTransformStream<number>({ maxItems: 4 });
    const piped = expect(source(1000).pipeTo(pair.writable)).rejects.toThrow('enough');
    const reader = pair.readable.getReader();
    expect(await reader.read()).toEqual({ done: false, value: 0 });
    await reader.cancel(new Error('enough'));
    await piped;
  });
});

describe('a signal ends a pipe at once, whoever hangs', () => {
  const hanging: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
  };
  const never = (): Promise<void> => new Promise(() => undefined);
  const take = { write: () => undefined };

  test('one that was aborted before', async () => {
    const end = await pipe(hanging, { maxItems: 2, signal: AbortSignal.abort(new Error('no')) }, take);
    expect(end).toMatchObject({ state: 'cancelled', error: { message: 'no' } });
  });

  test('the source, the sink at a write, at its close, and at its abort', async () => {
    const sinks = [take, { write: never }, { ...take, close: never }, { ...take, abort: never }];
    for (const [index, sink] of sinks.entries()) {
      const abort = new AbortController();
      const ended = pipe(
        index === 1 || index === 2 ? numbers(3) : hanging,
        { maxItems: 2, signal: abort.signal },
        sink,
      );
      await new Promise((resolve) => setTimeout(resolve, 5));
      abort.abort(new Error('enough'));
      expect(await within(ended, 'the end')).toMatchObject({
        state: 'cancelled',
        error: { message: 'enough' },
      });
    }
    const abort = new AbortController();
    const stream = new WritableStream<number>({ write: never });
    const ended = pipe(numbers(3), { maxItems: 2, signal: abort.signal }, stream);
    await new Promise((resolve) => setTimeout(resolve, 5));
    abort.abort(new Error('enough'));
    expect(await ended).toMatchObject({ state: 'cancelled' });
  });

  test('an iterator whose return throws, or gives no promise', async () => {
    const returns = [
      () => {
        throw new Error('no');
      },
      () => undefined as never,
      () => Promise.reject(new Error('no')),
    ];
    for (const [index, giveBack] of returns.entries()) {
      const abort = new AbortController();
      const source: AsyncIterable<number> = {
        [Symbol.asyncIterator]: () => ({ next: never as () => Promise<never>, return: giveBack }),
      };
      const ended = pipe(source, { maxItems: 2, signal: abort.signal }, take);
      abort.abort(new Error(`enough ${index}`));
      expect(await ended).toMatchObject({ state: 'cancelled' });
    }
  });
});
