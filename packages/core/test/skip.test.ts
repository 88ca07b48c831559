import { describe, expect, test } from 'vitest';
import {
  type Channel,
  createMemoryStore,
  Gap,
  openChannel,
  openCredit,
  type Pressure,
  type Reader,
  spillTo,
} from '../src/index.ts';
import { SlowStore } from './support/slow-store.ts';
import { stored } from './support/stored.ts';
import { within } from './support/within.ts';

/** What a reader was told, in order: `2: c` for a dropped chunk, `[2, 4) because` for a gap. */
function listening(): {
  readonly told: string[];
  readonly onDrop: (chunk: unknown, from: number) => void;
  readonly onGap: (gap: Gap) => void;
} {
  const told: string[] = [];
  return {
    told,
    onDrop: (chunk, from) => void told.push(`${from}: ${String(chunk)}`),
    onGap: ({ from, reason, to }) => void told.push(`[${from}, ${to}) ${reason}`),
  };
}

/** One letter weighs 1 byte and takes 10 ms. */
const open = (maxItems: number): Channel<string> =>
  openChannel<string>({
    maxItems,
    weigh: (text) => text.length,
    durationMs: (text) => text.length * 10,
    merge: (first, second) => first + second,
  });

function offerAll(channel: Channel<string>, letters: string): void {
  for (const letter of letters) expect(channel.offer(letter)).toBe('accepted');
}

describe('what a policy drops is given to onDrop, before its gap', () => {
  test('the oldest, all but the newest, or what came', () => {
    for (const [overflow, told] of [
      ['drop-oldest', ['0: a', '[0, 1) drop-oldest', '1: b', '[1, 2) drop-oldest']],
      ['latest', ['0: a', '1: b', '[0, 2) latest']],
      ['drop-newest', ['2: c', '[2, 3) drop-newest', '3: d', '[3, 4) drop-newest']],
    ] as const) {
      const channel = open(2);
      const { onDrop, onGap, told: heard } = listening();
      channel.reader({ overflow, onDrop, onGap });
      offerAll(channel, 'abcd');
      expect(heard).toEqual(told);
    }
  });

  test('a merged chunk once, with its offsets', () => {
    const channel = open(2);
    const dropped: unknown[] = [];
    channel.reader({
      overflow: 'drop-oldest',
      merges: true,
      maxBytes: 3,
      onDrop: (chunk, from, to) => void dropped.push([chunk, from, to]),
    });
    offerAll(channel, 'abcde');
    expect(dropped).toEqual([['abc', 0, 3]]);
  });

  test('nothing when a reader ends: what waits then was not dropped', () => {
    for (const ends of [
      (reader: Reader<unknown>): void => reader.detach(),
      (_: unknown, channel: Channel<string>): void => channel.cancel(),
      (_: unknown, channel: Channel<string>): void => void channel.offer('c'),
    ]) {
      for (const overflow of ['disconnect', 'error', 'block'] as const) {
        const channel = open(2);
        const { onDrop, onGap, told } = listening();
        const reader = channel.reader({ overflow, onDrop, onGap });
        offerAll(channel, 'ab');
        ends(reader, channel);
        expect(reader.skip('late')).toEqual(reader.end === undefined ? new Gap(0, 2, 2, 'late') : undefined);
        expect(told).toEqual(reader.end === undefined ? ['0: a', '1: b', '[0, 2) late'] : []);
      }
    }
  });

  test('what it throws fails the reader, which hears no more; others go on', () => {
    const broken = new Error('broken');
    const channel = open(3);
    const { onGap, told } = listening();
    const reader = channel.reader({
      overflow: 'latest',
      onDrop: (chunk) => {
        told.push(chunk);
        if (chunk === 'b') throw broken;
      },
      onGap,
    });
    const other = channel.reader({ maxItems: 9 });
    offerAll(channel, 'abcd');
    expect(told).toEqual(['a', 'b']);
    expect(reader.end).toEqual({ state: 'failed', error: broken });
    expect(other.takeAll()).toEqual(['a', 'b', 'c', 'd']);
  });
});

describe('skip drops what waits', () => {
  test('of a reader without gaps: it goes on behind it', () => {
    for (const overflow of ['block', 'coalesce', 'disconnect', 'error'] as const) {
      const channel = open(4);
      const { onDrop, onGap, told } = listening();
      const reader = channel.reader({ overflow, onDrop, onGap });
      offerAll(channel, 'abcd');
      expect(reader.take()).toBe('a');
      expect(reader.skip('barge-in')).toEqual(new Gap(1, 4, 3, 'barge-in'));
      expect(told).toEqual(['1: b', '2: c', '3: d', '[1, 4) barge-in']);
      expect([reader.waitingItems, reader.waitingBytes, reader.waitingMs]).toEqual([0, 0, 0]);
      expect([reader.deliveredItems, reader.droppedItems, reader.offset]).toEqual([1, 3, 4]);
      expect(reader.skip('again')).toBeUndefined();
      offerAll(channel, 'efgh');
      expect(reader.takeAll({ maxItems: 9 }).join('')).toBe('efgh');
    }
  });

  test('of a reader with gaps: its gap comes next, with what was lost right before it', () => {
    const channel = open(3);
    const { onDrop, onGap, told } = listening();
    const reader = channel.reader({ overflow: 'drop-oldest', onDrop, onGap });
    offerAll(channel, 'abcd');
    expect(reader.skip('barge-in')).toEqual(new Gap(0, 4, 4, 'barge-in'));
    expect(told).toEqual(['0: a', '[0, 1) drop-oldest', '1: b', '2: c', '3: d', '[1, 4) barge-in']);
    // What the policy drops behind it becomes part of the same gap, which keeps its reason.
    offerAll(channel, 'efgh');
    expect(reader.takeAll()).toEqual([new Gap(0, 5, 5, 'barge-in'), 'f', 'g', 'h']);
    expect([reader.deliveredItems, reader.droppedItems]).toEqual([3, 5]);
  });

  test('also what a reader keeps before its cursor, between gaps', () => {
    const channel = open(2);
    const { onDrop, onGap, told } = listening();
    const reader = channel.reader({ overflow: 'drop-newest', onDrop, onGap });
    offerAll(channel, 'abc');
    expect(reader.take()).toBe('a');
    offerAll(channel, 'def');
    told.length = 0;
    expect(reader.skip('barge-in')).toEqual(new Gap(1, 6, 5, 'barge-in'));
    expect(told).toEqual(['1: b', '[1, 2) barge-in', '3: d', '[3, 4) barge-in']);
    expect([reader.deliveredItems, reader.droppedItems, reader.waitingItems]).toEqual([1, 5, 0]);
    offerAll(channel, 'gh');
    expect(reader.takeAll()).toEqual([new Gap(1, 6, 5, 'barge-in'), 'g', 'h']);
  });

  test('and a write that waits for it goes on', async () => {
    const channel = open(2);
    const reader = channel.reader();
    const other = channel.reader({ maxItems: 9 });
    offerAll(channel, 'ab');
    const written = channel.write('c');
    reader.skip('barge-in');
    await within(written, 'the write that waited');
    expect(reader.takeAll()).toEqual(['c']);
    expect(other.takeAll()).toEqual(['a', 'b', 'c']);
  });

  test('at once, and lets go of it', () => {
    const channel = open(4);
    const reader = channel.reader();
    offerAll(channel, 'abcd');
    reader.skip('barge-in');
    expect(channel.heldBytes).toBe(0);
    expect(channel.oldestOffset).toBe(4);
  });

  test('and spends no credit; whoever waited for credit is told of what comes next', async () => {
    const credit = openCredit({ maxItems: 3, initial: { items: 1 } });
    const channel = open(4);
    const reader = channel.reader({ overflow: 'drop-oldest', credit: [credit] });
    offerAll(channel, 'abc');
    expect(reader.take()).toBe('a');
    const waits = reader.ready();
    expect(reader.skip('barge-in')).toEqual(new Gap(1, 3, 2, 'barge-in'));
    expect(await within(waits, 'the gap')).toBe(true);
    expect(reader.take()).toEqual(new Gap(1, 3, 2, 'barge-in'));
    expect(credit.available.items).toBe(0);
  });

  test('of a channel that has ended: the end is next', async () => {
    for (const overflow of ['block', 'latest'] as const) {
      const credit = openCredit({ maxItems: 3, initial: { items: 0 } });
      const channel = open(4);
      const reader = channel.reader({ overflow, credit: [credit] });
      offerAll(channel, 'abc');
      const waits = reader.ready();
      channel.complete();
      const gap = reader.skip('barge-in');
      expect(gap).toEqual(new Gap(0, 3, 3, 'barge-in'));
      expect(await within(waits, 'gap or end')).toBe(overflow === 'latest');
      expect(reader.take()).toEqual(overflow === 'latest' ? gap : undefined);
      expect(reader.end).toEqual({ state: 'completed' });
      expect(reader.skip('again')).toBeUndefined();
    }
  });

  test('and pressure is low again', () => {
    const channel = open(4);
    const pressures: Pressure[] = [];
    const reader = channel.reader({ onPressure: (pressure) => void pressures.push(pressure) });
    offerAll(channel, 'abcd');
    reader.skip('barge-in');
    expect(pressures).toEqual(['high', 'low']);
  });

  test('for a reason, which is a text', () => {
    const reader = open(4).reader();
    for (const reason of ['', undefined, 7]) {
      expect(() => reader.skip(reason as string)).toThrow(
        expect.objectContaining({ code: 'invalid_option' }) as Error,
      );
    }
  });
});

describe('skip of a reader that spills', () => {
  const settled = async (): Promise<void> => {
    for (let tick = 0; tick < 30; tick += 1) await Promise.resolve();
  };

  test('drops what is in its store, too, and goes on behind it', async () => {
    const store = createMemoryStore<string>({ maxBytes: 1000 });
    const channel = open(4);
    const { onDrop, onGap, told } = listening();
    const reader = channel.reader({ overflow: spillTo(store), onDrop, onGap });
    offerAll(channel, 'abc');
    await settled();
    offerAll(channel, 'd');
    expect([reader.spilledItems, reader.waitingItems]).toEqual([3, 1]);
    expect(reader.skip('barge-in')).toEqual(new Gap(0, 4, 4, 'barge-in'));
    // The store alone has the others.
    expect(told).toEqual(['3: d', '[0, 4) barge-in']);
    expect([reader.spilledItems, reader.waitingItems, reader.droppedItems]).toEqual([0, 0, 4]);
    await settled();
    expect(await stored(store, 4)).toEqual([]);
    offerAll(channel, 'efg');
    await settled();
    channel.complete();
    const rest: string[] = [];
    for await (const letter of reader) rest.push(letter);
    expect(rest).toEqual(['e', 'f', 'g']);
  });

  test('while it appends, and while it reads', async () => {
    for (const skipsWhile of ['append', 'read'] as const) {
      const store = new SlowStore<string>();
      const channel = open(4);
      const reader = channel.reader({ overflow: spillTo(store) });
      offerAll(channel, 'abc');
      if (skipsWhile === 'read') {
        await store.proceed();
        expect(reader.take()).toBeUndefined();
      }
      expect(reader.skip('barge-in')).toEqual(new Gap(0, 3, 3, 'barge-in'));
      await settled();
      offerAll(channel, 'def');
      const waits = reader.ready();
      // The read that is not wanted any more is refused: what it asks for was trimmed.
      for (let time = 0; time < 4; time += 1) await store.proceed();
      expect(await within(waits, 'what came behind it')).toBe(true);
      expect(reader.end).toBeUndefined();
      const got: (string | undefined)[] = [];
      for (let time = 0; time < 8; time += 1) {
        got.push(reader.take());
        await store.proceed();
      }
      expect(got.join('')).toBe('def');
      store.isSlow = false;
      expect(await stored(store, 3)).toEqual([]);
    }
  });

  test('a write that waits for its store goes on at once', async () => {
    const store = new SlowStore<string>();
    const channel = open(4);
    const reader = channel.reader({ overflow: spillTo(store) });
    const other = channel.reader({ maxItems: 9 });
    offerAll(channel, 'abcd');
    const written = channel.write('e');
    expect([store.pendingAppends, reader.waitingItems]).toEqual([1, 4]);
    reader.skip('barge-in');
    await within(written, 'the write that waited');
    expect([store.pendingAppends, reader.take()]).toEqual([1, 'e']);
    expect(other.takeAll().join('')).toBe('abcde');
  });

  test('a store that cannot trim fails it, behind the gap', async () => {
    const store = createMemoryStore<string>({ maxBytes: 1000 });
    const broken = { ...store, append: store.append.bind(store), read: store.read.bind(store) };
    const channel = open(4);
    const { onGap, told } = listening();
    const reader = channel.reader({
      overflow: spillTo<string>({
        ...broken,
        seal: () => Promise.resolve(),
        // The first trim follows the first append.
        trim: (before) => {
          if (channel.nextOffset > 3) throw new Error('no trim');
          return store.trim(before);
        },
      }),
      onGap,
    });
    offerAll(channel, 'abc');
    await settled();
    offerAll(channel, 'd');
    expect(reader.skip('barge-in')).toEqual(new Gap(0, 4, 4, 'barge-in'));
    expect(told).toEqual(['[0, 4) barge-in']);
    await settled();
    expect(reader.end).toMatchObject({ state: 'failed', error: { code: 'store_failed' } });
  });
});

describe('skip inside of a callback', () => {
  test('of onDrop: what it drops is told behind the rest', () => {
    const channel = open(3);
    const { onGap, told } = listening();
    let reader: Reader<string | Gap> | undefined;
    reader = channel.reader({
      overflow: 'drop-oldest',
      maxBytes: 3,
      onDrop: (chunk, from) => {
        told.push(`${from}: ${chunk}`);
        if (chunk === 'a') reader?.skip('told');
      },
      onGap,
    });
    offerAll(channel, 'abc');
    expect(channel.offer('dd')).toBe('accepted');
    expect(told).toEqual(['0: a', '1: b', '[0, 2) drop-oldest', '2: c', '[2, 3) told']);
    expect(reader.takeAll()).toEqual([new Gap(0, 3, 3, 'told'), 'dd']);
  });

  test('of another reader’s onGap, while room is made: who has room again loses nothing', () => {
    for (const step of ['skip', 'takeAll'] as const) {
      const channel = open(2);
      const readers: Reader<string | Gap>[] = [];
      const { onDrop, onGap, told } = listening();
      // Readers make room from the last one to the first.
      readers.push(
        channel.reader({
          overflow: 'drop-oldest',
          onGap: () => (step === 'skip' ? readers[1]?.skip('told') : readers[1]?.takeAll()),
        }),
        channel.reader({ overflow: 'drop-newest', onDrop, onGap }),
      );
      offerAll(channel, 'abc');
      expect(told).toEqual(step === 'skip' ? ['0: a', '1: b', '[0, 2) told'] : []);
      const left = step === 'skip' ? [new Gap(0, 2, 2, 'told'), 'c'] : ['c'];
      expect(readers[1]?.takeAll()).toEqual(left);
    }
  });

  test('of another reader’s onDrop, when what came is dropped: once, and by one of them', () => {
    for (const step of ['skip', 'takeAll'] as const) {
      const channel = open(1);
      const readers: Reader<string | Gap>[] = [];
      const others = listening();
      const once = (): void => void (step === 'skip' ? readers[0]?.skip('told') : readers[0]?.takeAll());
      readers.push(
        channel.reader({ overflow: 'drop-newest', ...others }),
        channel.reader({ overflow: 'drop-newest', onDrop: once }),
      );
      offerAll(channel, 'ab');
      expect(others.told).toEqual(step === 'skip' ? ['0: a', '1: b', '[0, 2) told'] : []);
      expect(readers[0]?.takeAll()).toEqual(step === 'skip' ? [new Gap(0, 2, 2, 'told')] : []);
      readers[1]?.detach();
      expect(channel.offer('c')).toBe('accepted');
      expect(readers[0]?.takeAll()).toEqual(['c']);
    }
  });

  test('of weigh, for a chunk that is offered', () => {
    let reader: Reader<string> | undefined;
    const channel = openChannel<string>({
      maxItems: 2,
      weigh: (text) => {
        if (text === 'c') reader?.skip('weighed');
        return text.length;
      },
    });
    reader = channel.reader();
    offerAll(channel, 'abcd');
    expect(channel.offer('e')).toBe('full');
    expect(reader.takeAll()).toEqual(['c', 'd']);
  });

  test('of a merge, or of weigh for what was merged: fails the channel, and loses nothing', async () => {
    for (const calls of ['merge', 'merge.all', 'weigh'] as const) {
      for (const step of ['room', 'newest', 'take'] as const) {
        // It is called only where room is made.
        if (calls === 'merge.all' && step !== 'room') continue;
        const readers: Reader<string | Gap>[] = [];
        const attempt = (text: string): string => {
          // When room is made, a second merge: the first entries have moved then.
          if (text.length >= (step === 'newest' ? 4 : 3)) readers[0]?.skip('merged');
          return text;
        };
        const merge = (first: string, second: string): string =>
          calls === 'merge' ? attempt(first + second) : first + second;
        const all = (chunks: readonly string[]): { chunk: string; count: number }[] => [
          { chunk: attempt(chunks.join('')), count: chunks.length },
        ];
        const channel = openChannel<string>({
          maxItems: 3,
          weigh: (text) => (calls === 'weigh' ? attempt(text).length : text.length),
          merge: calls === 'merge.all' ? Object.assign(merge, { all }) : merge,
        });
        readers.push(channel.reader({ overflow: 'coalesce' }), channel.reader({ overflow: 'coalesce' }));
        const letters = 'abcd'.slice(0, step === 'take' ? 3 : 4);
        let written = 0;
        for (const letter of letters) if (channel.offer(letter) === 'accepted') written += 1;
        for (const reader of readers) await reader.ready();
        const got = readers.map((reader) => reader.takeAll());
        await Promise.resolve();
        expect(channel.end, `${calls}, ${step}`).toMatchObject({
          state: 'failed',
          error: { code: 'merge_under_way' },
        });
        for (const [index, reader] of readers.entries()) {
          const items = [...(got[index] ?? []), ...reader.takeAll()];
          expect(items.map(String).join('')).toBe(letters.slice(0, written));
          expect(reader.droppedItems).toBe(0);
        }
      }
    }
  });
});

test('the reason of a skip stays when the policy drops more before the gap is taken', () => {
  const channel = openChannel<string>({ maxItems: 2 });
  const reader = channel.reader({ overflow: 'drop-oldest' });
  channel.offer('a');
  reader.skip('barge-in');
  for (const chunk of ['b', 'c', 'd']) channel.offer(chunk);
  expect(reader.take()).toMatchObject({ from: 0, to: 2, reason: 'barge-in' });
});
