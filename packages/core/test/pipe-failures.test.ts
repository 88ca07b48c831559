import { describe, expect, test } from 'vitest';
import {
  createMemoryStore,
  createTransformStream,
  Gap,
  openChannel,
  pipe,
  type PipeEnd,
  type PipeOptions,
  type Source,
  spillTo,
  type Store,
  toReadableStream,
  toWritableStream,
} from '../src/index.ts';
import { stored } from './support/stored.ts';
import { within } from './support/within.ts';

const broken = new Error('broken');
const fail = (): never => {
  throw broken;
};
const never = <R>(): Promise<R> => new Promise(() => undefined);
const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));
const size = (): number => 1;

/** A source that counts up, as fast as it is asked or until it says nothing more, and notes how it was told to stop. */
interface Told {
  readonly source: Source<number>;
  readonly reasons: unknown[];
  /** Whether somebody holds on to it. */
  readonly isHeld: () => boolean;
}

const sources: Readonly<Record<string, (silentFrom: number) => Told>> = {
  'an iterator': (silentFrom) => {
    const reasons: unknown[] = [];
    let item = -1;
    const iterator: AsyncIterator<number> = {
      next: () => {
        item += 1;
        return item < silentFrom ? Promise.resolve({ value: item }) : never();
      },
      return: () => {
        reasons.push('returned');
        return Promise.resolve({ done: true, value: undefined });
      },
    };
    return { source: { [Symbol.asyncIterator]: () => iterator }, reasons, isHeld: () => false };
  },
  'a ReadableStream': (silentFrom) => {
    const reasons: unknown[] = [];
    let item = -1;
    const source = new ReadableStream<number>({
      pull(controller) {
        item += 1;
        if (item >= silentFrom) return never();
        controller.enqueue(item);
        return undefined;
      },
      cancel: (reason) => void reasons.push(reason),
    });
    return { source, reasons, isHeld: () => source.locked };
  },
};

/** What fails, and which chunks come before the source says nothing more. */
const failures: readonly [string, Omit<PipeOptions<number>, 'signal'>, number][] = [
  ['weigh', { maxBytes: 9, weigh: (item) => (item === 3 ? fail() : 1) }, Infinity],
  ['durationMs', { maxMs: 9, durationMs: (item) => (item === 3 ? fail() : 1) }, Infinity],
  [
    'merge, where a write makes room',
    { maxItems: 2, weigh: size, overflow: 'coalesce', merge: fail },
    Infinity,
  ],
  ['merge, where the sink takes', { maxItems: 9, weigh: size, overflow: 'coalesce', merge: fail }, 5],
];

describe.each(Object.entries(sources))('%s is told, once, and given back', (_name, open) => {
  test.each(failures)('when %s fails', async (_what, options, silentFrom) => {
    const { source, reasons, isHeld } = open(silentFrom);
    const ends: unknown[] = [];
    const end = await pipe(source, options, { write: later, abort: (error: Error) => void ends.push(error) });
    expect(end).toMatchObject({ state: 'failed', error: broken });
    expect(end.deliveredItems).toBe(end.writtenItems);
    expect(ends).toEqual([broken]);
    expect(reasons).toHaveLength(1);
    expect([broken, 'returned']).toContain(reasons[0]);
    expect(isHeld()).toBe(false);
  });

  test('while the sink hangs', async () => {
    const { source, reasons } = open(Infinity);
    const abort = new AbortController();
    const weigh = (item: number): number => (item === 3 ? fail() : 1);
    const ended = pipe(source, { maxBytes: 9, weigh, signal: abort.signal }, { write: never });
    for (let turn = 0; turn < 5; turn += 1) await later();
    expect(reasons).toHaveLength(1);
    abort.abort();
    await ended;
  });

  test('before the sink has all that waits', async () => {
    const { source, reasons } = open(5);
    const toldAt: number[] = [];
    const write = async (): Promise<void> => {
      toldAt.push(reasons.length);
      await later();
    };
    const end = await pipe(
      source,
      { maxItems: 9, weigh: size, overflow: 'coalesce', merge: fail },
      { write },
    );
    expect(toldAt).toHaveLength(end.deliveredItems);
    expect(toldAt.slice(0, 3)).toEqual([0, 0, 1]);
  });

  test('when a size is none, and when a chunk is none', async () => {
    for (const [options, code] of [
      [{ maxBytes: 9, weigh: () => Number.NaN }, 'invalid_option'],
      [{ maxItems: 9 }, 'invalid_chunk'],
    ] as const) {
      const { source, reasons, isHeld } = open(Infinity);
      const chunks = code === 'invalid_chunk' ? withoutValues(source) : source;
      expect(await pipe(chunks, options, { write: later })).toMatchObject({
        state: 'failed',
        error: { code },
      });
      expect(reasons).toHaveLength(1);
      expect(isHeld()).toBe(false);
    }
  });

  test('when its sink fails, or may not fall behind and does', async () => {
    for (const [overflow, write] of [
      ['block', fail],
      ['error', later],
      ['disconnect', later],
    ] as const) {
      const { source, reasons, isHeld } = open(Infinity);
      const end = await pipe(source, { maxItems: 2, overflow }, { write });
      expect(end.state).toBe(overflow === 'block' ? 'cancelled' : 'failed');
      if (overflow === 'disconnect') expect(end).toMatchObject({ error: { code: 'reader_disconnected' } });
      expect(reasons).toHaveLength(1);
      expect(isHeld()).toBe(false);
    }
  });

  test('when the signal comes', async () => {
    const { source, reasons, isHeld } = open(3);
    const abort = new AbortController();
    const ended = pipe(source, { maxItems: 9, signal: abort.signal }, { write: later });
    await later();
    abort.abort(broken);
    expect(await ended).toMatchObject({ state: 'cancelled', error: broken });
    expect(reasons).toHaveLength(1);
    expect(isHeld()).toBe(false);
  });
});

/** The same source with `undefined` for every chunk. */
function withoutValues(source: Source<number>): Source<number> {
  const none = undefined as unknown as number;
  if ('getReader' in source) {
    return source.pipeThrough(
      new TransformStream<number, number>({ transform: (_item, controller) => controller.enqueue(none) }),
    );
  }
  return {
    [Symbol.asyncIterator]: () => {
      const iterator = source[Symbol.asyncIterator]();
      return {
        next: async () => ({ ...(await iterator.next()), value: none }),
        return: () => iterator.return?.() ?? never(),
      };
    },
  };
}

describe('a source that is over is not told', () => {
  test('nor a stream kept from others, when it has failed or its sink cannot be closed', async () => {
    const failing = new ReadableStream<number>({ start: (controller) => controller.error(broken) });
    expect(await pipe(failing, { maxItems: 2 }, { write: later })).toMatchObject({
      state: 'failed',
      error: broken,
    });
    expect(failing.locked).toBe(false);

    for (const [state, next] of [
      ['cancelled', () => Promise.resolve({ done: true, value: undefined } as const)],
      ['failed', () => Promise.reject(broken)],
    ] as const) {
      let returned = 0;
      const iterator: AsyncIterator<number> = {
        next,
        return: () => {
          returned += 1;
          return Promise.resolve({ done: true, value: undefined });
        },
      };
      const source = { [Symbol.asyncIterator]: () => iterator };
      const end = await pipe<number>(source, { maxItems: 2 }, { write: later, close: fail });
      expect(end).toMatchObject({ state, error: broken });
      expect(returned).toBe(0);
    }
  });
});

describe('a signal that comes late ends a pipe at once', () => {
  async function endedBySignal(
    source: AsyncIterable<number>,
    options: PipeOptions<number>,
    sink: { write: () => Promise<void> | void; abort?: () => Promise<void> },
    until: () => boolean,
  ): Promise<PipeEnd> {
    const abort = new AbortController();
    const ended = pipe(source, { ...options, signal: abort.signal }, sink);
    while (!until()) await later();
    abort.abort(new Error('enough'));
    return within(ended, 'the pipe to end');
  }

  async function* numbers(count: number, error?: Error): AsyncGenerator<number> {
    for (let item = 0; item < count; item += 1) yield item;
    if (error !== undefined) throw error;
  }

  test.each([
    ['source', 'failed', numbers(1, broken), (): void => undefined],
    ['sink', 'cancelled', numbers(2), fail],
  ] as const)(
    'although the sink hangs as it is aborted for a %s that failed',
    async (_who, state, source, write) => {
      let isAborted = false;
      const abort = (): Promise<void> => {
        isAborted = true;
        return never();
      };
      const end = await endedBySignal(source, { maxItems: 4 }, { write, abort }, () => isAborted);
      // That is why it ended, and not the signal.
      expect(end).toMatchObject({ state, error: broken });
    },
  );

  test('and is no completion, when a store that hangs has what the source ended with', async () => {
    const kept = createMemoryStore<number>({ maxBytes: 1000 });
    let isRead = false;
    const store: Store<number> = {
      append: (chunks) => kept.append(chunks),
      read: () => {
        isRead = true;
        return never();
      },
      trim: (before) => kept.trim(before),
      seal: () => kept.seal(),
    };
    const aborted: string[] = [];
    const sink = { write: later, abort: async () => void aborted.push('aborted') };
    const end = await endedBySignal(
      numbers(20),
      { maxItems: 4, overflow: spillTo(store) },
      sink,
      () => isRead,
    );
    expect(end).toMatchObject({ state: 'cancelled', error: { message: 'enough' } });
    expect(aborted).toEqual(['aborted']);
  });
});

describe('what fails on one side of a pair of streams fails the other', () => {
  const source = (): ReadableStream<number> => {
    let item = 0;
    return new ReadableStream<number>({
      pull(controller) {
        controller.enqueue(item);
        item += 1;
      },
    });
  };
  const readAll = async (stream: ReadableStream<unknown>): Promise<unknown[]> => {
    const items: unknown[] = [];
    const reader = stream.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) items.push(next.value);
    return items;
  };

  test.each([
    ['weigh', { maxBytes: 9, weigh: (item: number) => (item === 2 ? fail() : 1) }],
    ['durationMs', { maxMs: 9, durationMs: (item: number) => (item === 2 ? fail() : 1) }],
  ])('%s: what was written comes out, then the error', async (_what, options) => {
    const pair = createTransformStream<number>(options);
    const written = expect(source().pipeTo(pair.writable)).rejects.toBe(broken);
    const reader = pair.readable.getReader();
    expect((await reader.read()).value).toBe(0);
    expect((await reader.read()).value).toBe(1);
    await expect(reader.read()).rejects.toBe(broken);
    await written;
  });

  test('a reader that may not fall behind and does, or whose store fails', async () => {
    for (const [overflow, code] of [
      ['error', 'reader_overflow'],
      ['disconnect', 'reader_disconnected'],
      [spillTo(createMemoryStore<number>({ maxBytes: 1 })), 'store_failed'],
    ] as const) {
      const pair = createTransformStream<number>({ maxItems: 2, weigh: size }, { overflow });
      const written = expect(source().pipeTo(pair.writable)).rejects.toMatchObject({ code });
      // Longer than it takes until the channel is full.
      for (let turn = 0; turn < 5; turn += 1) await later();
      await expect(readAll(pair.readable)).rejects.toMatchObject({ code });
      await within(written, 'the writer to fail');
    }
  });

  test('toWritableStream fails its channel with what cannot be written', async () => {
    const channel = openChannel<number>({ maxBytes: 9, weigh: (item) => (item === 2 ? fail() : 1) });
    const reader = channel.reader();
    await expect(source().pipeTo(toWritableStream(channel))).rejects.toBe(broken);
    expect(reader.takeAll()).toEqual([0, 1]);
    expect(reader.end).toEqual({ state: 'failed', error: broken });
  });

  test('toReadableStream leaves a channel alone whose other readers go on', async () => {
    const channel = openChannel<number>({ maxItems: 1 });
    const stream = toReadableStream(channel.reader({ overflow: 'error' }));
    const other = channel.reader({ maxItems: 5 });
    for (const item of [0, 1]) expect(channel.offer(item)).toBe('accepted');
    await expect(stream.getReader().read()).rejects.toMatchObject({ code: 'reader_overflow' });
    expect(channel.end).toBeUndefined();
    expect(other.takeAll()).toEqual([0, 1]);
  });
});

test.each(['written', 'closed', 'aborted'])(
  'a pair of streams that spills leaves nothing in its store when it is cancelled after it was %s',
  async (last) => {
    const store = createMemoryStore<number>({ maxBytes: 1000 });
    const { readable, writable } = createTransformStream<number>(
      { maxItems: 4 },
      { overflow: spillTo(store) },
    );
    const writer = writable.getWriter();
    const closed = writer.closed.catch(() => undefined);
    for (let item = 0; item < 20; item += 1) await writer.write(item);
    while ((await stored(store, 20)).length === 0) await later();
    if (last === 'closed') await writer.close();
    if (last === 'aborted') await writer.abort(broken);
    await readable.cancel(new Error('enough'));
    if (last !== 'written') await closed;
    for (let turn = 0; turn < 5; turn += 1) await later();
    expect(await stored(store, 20)).toEqual([]);
    await expect(store.append([])).rejects.toMatchObject({ code: 'store_sealed' });
  },
);

test('undefined is no chunk: it is refused wherever it is written', async () => {
  const none = undefined as unknown as number;
  for (const weigh of [undefined, size]) {
    const channel = openChannel<number>({ maxItems: 8, ...(weigh && { weigh }) });
    const reader = channel.reader();
    // Also on the short way of an offer, which begins when room is known.
    for (let item = 0; item < 3; item += 1) {
      expect(channel.offer(item)).toBe('accepted');
      expect(() => channel.offer(none)).toThrow(expect.objectContaining({ code: 'invalid_chunk' }) as Error);
      await expect(channel.write(none)).rejects.toMatchObject({ code: 'invalid_chunk' });
    }
    expect(reader.takeAll({ maxItems: 5 })).toEqual([0, 1, 2]);
    expect(reader.deliveredItems).toBe(3);
    expect(channel.nextOffset).toBe(3);
  }
  const values: unknown[] = [null, 0, '', false, Number.NaN];
  const channel = openChannel({ maxItems: 8 });
  for (const value of values) expect(channel.offer(value)).toBe('accepted');
  channel.complete();
  const items: unknown[] = [];
  for await (const item of channel.reader()) items.push(item);
  expect(items).toEqual(values);
});

test('what a source has is read to the bound and the one chunk that waits for room', async () => {
  for (const maxItems of [1, 2, 10]) {
    const abort = new AbortController();
    let made = 0;
    async function* source(): AsyncGenerator<number> {
      for (;;) {
        made += 1;
        yield made;
      }
    }
    const ended = pipe(source(), { maxItems, signal: abort.signal }, { write: never });
    for (let turn = 0; turn < 5; turn += 1) await later();
    // One is at the sink.
    expect(made - 1).toBe(maxItems + 1);
    abort.abort();
    await ended;
  }
});

test('a gap that comes from the source is told like one of the pipe', async () => {
  const channel = openChannel<number>({ maxItems: 2 });
  const reader = channel.reader({ overflow: 'drop-oldest' });
  for (let item = 0; item < 5; item += 1) expect(channel.offer(item)).toBe('accepted');
  channel.complete();
  const told: Gap[] = [];
  const items: unknown[] = [];
  await pipe<number | Gap>(
    reader,
    { maxItems: 2, onGap: (gap) => told.push(gap) },
    { write: (item) => void items.push(item) },
  );
  expect(told).toEqual([new Gap(0, 3, 0, 'drop-oldest')]);
  expect(items).toEqual([3, 4]);
});
