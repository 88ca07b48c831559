import { describe, expect, test } from 'vitest';
import {
  type Channel,
  createMemoryStore,
  Gap,
  openChannel,
  openCredit,
  type Reader,
  SpillwayError,
  spillTo,
} from '../src/index.ts';
import { VirtualClock } from '../src/testing/virtual-clock.ts';
import { StrictMemory } from './support/strict-memory.ts';

function drain<T>(reader: Reader<T>): T[] {
  const items: T[] = [];
  for (let item = reader.take(); item !== undefined; item = reader.take()) items.push(item);
  return items;
}

async function all<T>(reader: Reader<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of reader) items.push(item);
  return items;
}

describe('a channel', () => {
  test('is bounded by items and by bytes, whichever is reached first', () => {
    const byItems = openChannel<string>({ maxItems: 2 });
    byItems.reader();
    expect(['a', 'b', 'c'].map((chunk) => byItems.offer(chunk))).toEqual(['accepted', 'accepted', 'full']);
    const byBytes = openChannel<string>({ maxItems: 10, maxBytes: 5, weigh: (text) => text.length });
    const reader = byBytes.reader();
    expect(['abc', 'de', 'f'].map((chunk) => byBytes.offer(chunk))).toEqual(['accepted', 'accepted', 'full']);
    expect(reader.waitingBytes).toBe(5);
    expect(drain(reader)).toEqual(['abc', 'de']);
  });

  test('takes a chunk that is larger than the bound when nothing else waits', () => {
    const channel = openChannel<string>({ maxBytes: 3, weigh: (text) => text.length });
    const reader = channel.reader();
    expect(channel.offer('much too long')).toBe('accepted');
    // It does not count: what follows has the bound for itself.
    expect(channel.offer('xyz')).toBe('accepted');
    expect(channel.offer('x')).toBe('full');
    expect(drain(reader)).toEqual(['much too long', 'xyz']);
    expect(channel.offer('x')).toBe('accepted');
    expect(channel.offer('also too long')).toBe('full');
  });

  test('a chunk that is larger than the bound disconnects nobody, and nobody for what comes right behind it', () => {
    const channel = openChannel<string>({ maxBytes: 3, weigh: (text) => text.length });
    const reader = channel.reader({ overflow: 'disconnect' });
    const dropping = channel.reader({ overflow: 'drop-oldest' });
    for (const chunk of ['much too long', 'xy', 'z']) channel.offer(chunk);
    expect(drain(reader)).toEqual(['much too long', 'xy', 'z']);
    expect(drain(dropping)).toEqual(['much too long', 'xy', 'z']);
  });

  test('keeps chunks for its first reader', () => {
    const channel = openChannel<number>({ maxItems: 2 });
    expect([1, 2, 3].map((chunk) => channel.offer(chunk))).toEqual(['accepted', 'accepted', 'full']);
    expect(drain(channel.reader())).toEqual([1, 2]);
  });

  test('promise 2: every reader gets everything, from one copy', () => {
    const channel = openChannel<object>({ maxItems: 10 });
    const readers = [channel.reader(), channel.reader(), channel.reader({ from: 'now' })];
    const chunk = {};
    channel.offer(chunk);
    for (const reader of readers) expect(reader.take()).toBe(chunk);
    const late = channel.reader({ from: 'now' });
    expect(late.take()).toBeUndefined();
  });

  test('lets go of what waited before its only reader, which starts now', () => {
    const channel = openChannel<string>({ maxBytes: 1000, weigh: (text) => text.length });
    expect(channel.offer('early')).toBe('accepted');
    const reader = channel.reader({ from: 'now' });
    for (let count = 0; count < 1000; count += 1) {
      expect(channel.offer('late')).toBe('accepted');
      expect(reader.take()).toBe('late');
    }
    expect(channel.heldBytes).toBe(0);
  });

  test.each(['start', 2, 'now'] as const)(
    'nobody takes away what one more reader, from %s, has yet to take',
    (from) => {
      const channel = openChannel<number>({ maxItems: 20 });
      const slow = channel.reader();
      const fast = channel.reader();
      for (let chunk = 0; chunk < 8; chunk += 1) channel.offer(chunk);
      for (let count = 0; count < 6; count += 1) fast.take();
      // It alone is the slowest from here on.
      slow.take();
      slow.take();
      const later = channel.reader({ from });
      const start = later.offset;
      for (let chunk = 8; chunk < 12; chunk += 1) channel.offer(chunk);
      expect(drain(slow)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
      expect(drain(later)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11].filter((chunk) => chunk >= start));
      expect(drain(fast)).toEqual([6, 7, 8, 9, 10, 11]);
      expect(channel.oldestOffset).toBe(12);
    },
  );

  test('waits for its slowest blocking reader and for nobody else', () => {
    const channel = openChannel<number>({ maxItems: 2 });
    const slow = channel.reader();
    const fast = channel.reader();
    const lossy = channel.reader({ overflow: 'drop-oldest', maxItems: 1 });
    channel.offer(1);
    channel.offer(2);
    drain(fast);
    expect(channel.offer(3)).toBe('full');
    slow.take();
    expect(channel.offer(3)).toBe('accepted');
    expect(drain(slow)).toEqual([2, 3]);
    expect(drain(lossy)).toEqual([new Gap(0, 2, 0, 'drop-oldest'), 3]);
  });
});

describe('write', () => {
  test('waits for room, and goes on when half of it is free', async () => {
    const channel = openChannel<number>({ maxItems: 4 });
    const reader = channel.reader();
    for (const chunk of [1, 2, 3, 4]) await channel.write(chunk);
    let isWritten = false;
    const written = channel.write(5).then(() => (isWritten = true));
    reader.take();
    await Promise.resolve();
    expect(isWritten).toBe(false);
    reader.take();
    await written;
    expect(drain(reader)).toEqual([3, 4, 5]);
  });

  test('is refused while another one waits, also as an offer', async () => {
    const channel = openChannel<number>({ maxItems: 1 });
    channel.reader();
    await channel.write(1);
    const waits = channel.write(2);
    await expect(channel.write(3)).rejects.toMatchObject({ code: 'write_pending' });
    expect(channel.offer(3)).toBe('full');
    channel.cancel();
    await expect(waits).rejects.toMatchObject({ code: 'channel_cancelled' });
  });

  test('can be aborted, and is then not written', async () => {
    const channel = openChannel<number>({ maxItems: 1 });
    const reader = channel.reader();
    await channel.write(1);
    const abort = new AbortController();
    const waits = channel.write(2, { signal: abort.signal });
    const reason = new Error('enough');
    abort.abort(reason);
    await expect(waits).rejects.toBe(reason);
    await expect(channel.write(3, { signal: abort.signal })).rejects.toBe(reason);
    expect(drain(reader)).toEqual([1]);
    await channel.write(4);
    expect(drain(reader)).toEqual([4]);
  });

  test('leaves no listener on its signal, however it ends', async () => {
    const channel = openChannel<number>({ maxItems: 1 });
    const reader = channel.reader();
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    await channel.write(1, { signal });
    const waits = channel.write(2, { signal });
    reader.take();
    await waits;
    const cancelled = channel.write(3, { signal });
    channel.cancel();
    await expect(cancelled).rejects.toMatchObject({ code: 'channel_cancelled' });
    expect(listeners).toBe(0);
  });

  test('goes on when the reader that was in its way leaves', async () => {
    const channel = openChannel<number>({ maxItems: 1 });
    const blocker = channel.reader();
    const other = channel.reader({ overflow: 'drop-oldest' });
    await channel.write(1);
    const waits = channel.write(2);
    blocker.detach();
    await waits;
    expect(drain(other)).toEqual([new Gap(0, 1, 0, 'drop-oldest'), 2]);
  });

  test('is refused when the channel has ended', async () => {
    const channel = openChannel<number>({ maxItems: 1 });
    channel.complete();
    expect(channel.offer(1)).toBe('closed');
    await expect(channel.write(1)).rejects.toMatchObject({ code: 'channel_closed' });
  });
});

describe('an end', () => {
  test('comes behind what was written, for completed, failed and cut', async () => {
    for (const end of ['complete', 'fail', 'cut'] as const) {
      const channel = openChannel<number>({ maxItems: 5 });
      const reader = channel.reader();
      channel.offer(1);
      const error = new Error('cut');
      if (end === 'complete') channel.complete();
      else channel[end](error);
      expect(reader.end).toBeUndefined();
      expect(await reader.ready()).toBe(true);
      expect(reader.take()).toBe(1);
      expect(await reader.ready()).toBe(false);
      const state = { complete: 'completed', fail: 'failed', cut: 'cut' }[end];
      expect(reader.end).toEqual(end === 'complete' ? { state } : { state, error });
    }
  });

  test('is only the first one', () => {
    const channel = openChannel<number>({ maxItems: 5 });
    channel.complete();
    channel.fail(new Error('late'));
    channel.cancel();
    expect(channel.end).toEqual({ state: 'completed' });
  });

  test('by cancel discards what waits and wakes everybody', async () => {
    const channel = openChannel<number>({ maxItems: 1 });
    const full = channel.reader();
    channel.offer(1);
    const empty = channel.reader({ from: 'now' });
    const waits = empty.ready();
    channel.cancel();
    expect(await waits).toBe(false);
    expect(full.take()).toBeUndefined();
    expect(full.end).toMatchObject({ state: 'cancelled' });
    expect(channel.heldBytes).toBe(0);
  });

  test('reaches a loop: it returns when completed and throws when failed or cancelled', async () => {
    const completed = openChannel<number>({ maxItems: 5 });
    completed.offer(1);
    completed.complete();
    expect(await all(completed.reader())).toEqual([1]);
    const failed = openChannel<number>({ maxItems: 5 });
    failed.fail(new Error('cut'));
    await expect(all(failed.reader())).rejects.toThrow('cut');
    const cancelled = openChannel<number>({ maxItems: 5 });
    cancelled.cancel();
    await expect(all(cancelled.reader())).rejects.toMatchObject({ code: 'channel_cancelled' });
  });
});

describe('a reader', () => {
  test('waits until something comes, and every wait is one wait', async () => {
    const channel = openChannel<number>({ maxItems: 5 });
    const reader = channel.reader();
    const waits = reader.ready();
    expect(reader.ready()).toBe(waits);
    channel.offer(1);
    expect(await waits).toBe(true);
  });

  test('that leaves a loop early has left the channel', async () => {
    const channel = openChannel<number>({ maxItems: 5 });
    const reader = channel.reader();
    channel.offer(1);
    for await (const _ of reader) break;
    expect(reader.end).toEqual({ state: 'detached' });
    const other = channel.reader();
    await other[Symbol.asyncDispose]();
    expect(other.end).toEqual({ state: 'detached' });
  });

  test('drop-oldest: delivered + dropped = produced, and each gap is announced (promise 5)', () => {
    const channel = openChannel<number>({ maxItems: 100, maxBytes: 1000, weigh: () => 10 });
    const reader = channel.reader({ overflow: 'drop-oldest', maxItems: 3 });
    for (let chunk = 0; chunk < 8; chunk += 1) expect(channel.offer(chunk)).toBe('accepted');
    expect(drain(reader)).toEqual([new Gap(0, 5, 50, 'drop-oldest'), 5, 6, 7]);
    for (let chunk = 8; chunk < 12; chunk += 1) channel.offer(chunk);
    expect(drain(reader)).toEqual([new Gap(8, 9, 10, 'drop-oldest'), 9, 10, 11]);
    expect(reader.deliveredItems + reader.droppedItems).toBe(channel.nextOffset);
  });

  test('error: fails alone', async () => {
    const channel = openChannel<number>({ maxItems: 100 });
    const strict = channel.reader({ overflow: 'error', maxItems: 1 });
    const other = channel.reader();
    channel.offer(1);
    expect(channel.offer(2)).toBe('accepted');
    expect(strict.take()).toBeUndefined();
    await expect(all(strict)).rejects.toMatchObject({ code: 'reader_overflow' });
    expect(drain(other)).toEqual([1, 2]);
  });
});

describe('whenReady', () => {
  test('calls back once, when a chunk is written or the channel ends', () => {
    const channel = openChannel<number>({ maxItems: 4 });
    const reader = channel.reader();
    let calls = 0;
    const called = (): void => void (calls += 1);
    expect(reader.whenReady(called)).toBe(false);
    channel.offer(1);
    channel.offer(2);
    expect(calls).toBe(1);
    expect(reader.whenReady(called)).toBe(true);
    expect(reader.takeAll()).toEqual([1, 2]);
    expect(reader.whenReady(called)).toBe(false);
    channel.complete();
    expect(calls).toBe(2);
    expect(reader.whenReady(called)).toBe(true);
    expect(reader.take()).toBeUndefined();
  });

  test('goes with a promise that waits, and the later callback counts', async () => {
    const channel = openChannel<number>({ maxItems: 4 });
    const reader = channel.reader();
    const ready = reader.ready();
    const calls: string[] = [];
    reader.whenReady(() => calls.push('first'));
    reader.whenReady(() => calls.push('second'));
    channel.offer(1);
    expect(calls).toEqual(['second']);
    await expect(ready).resolves.toBe(true);
  });

  test('may take what it is told of', () => {
    const channel = openChannel<number>({ maxItems: 2, replay: { maxItems: 1 } });
    const reader = channel.reader();
    const taken: (number | undefined)[] = [];
    const take = (): void => {
      while (reader.whenReady(take)) taken.push(reader.take());
    };
    take();
    for (let chunk = 0; chunk < 10; chunk += 1) expect(channel.offer(chunk)).toBe('accepted');
    expect(taken).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });
});

describe('chunks in a memory of the channel', () => {
  const open = (): { channel: Channel<string>; memory: StrictMemory<string> } => {
    const memory = new StrictMemory<string>((text) => text === 'o');
    const channel = openChannel<string>({
      maxBytes: 8,
      weigh: (text) => new Set(text).size,
      merge: (first, second) => first + second,
      memory,
    });
    return { channel, memory };
  };

  test('are there, unless they became part of what waits', () => {
    const { channel, memory } = open();
    const reader = channel.reader({ overflow: 'coalesce' });
    for (let count = 0; count < 8; count += 1) channel.offer('a');
    expect(memory.chunks).toHaveLength(8);
    expect(channel.isMerging).toBe(false);
    // The window is full: from here on it merges, and what was merged is an object.
    for (let count = 0; count < 15; count += 1) channel.offer('a');
    expect(memory.chunks).toEqual([]);
    expect(memory.owned).toEqual([]);
    expect(channel.isMerging).toBe(true);
    expect(channel.newest(5)).toEqual(['a'.repeat(23)]);
    expect(drain(reader)).toEqual(['a'.repeat(23)]);
  });

  test('what it does not take is an object of its own', () => {
    const { channel, memory } = open();
    const reader = channel.reader();
    for (const letter of 'aoboc') channel.offer(letter);
    expect(memory.chunks).toEqual(['a', 'b', 'c']);
    expect(memory.owned).toEqual(['o', 'o']);
    expect(drain(reader).join('')).toBe('aoboc');
  });

  test('what was taken is released, and all of it when the channel is cancelled', () => {
    const { channel, memory } = open();
    const reader = channel.reader();
    for (const letter of 'abcd') channel.offer(letter);
    reader.take();
    reader.take();
    channel.offer('e');
    expect(memory.chunks).toEqual(['c', 'd', 'e']);
    channel.cancel();
    expect(memory.chunks).toEqual([]);
  });

  test('once what waits was merged, what comes is merged at once, until the reader has all', () => {
    const { channel, memory } = open();
    const reader = channel.reader({ overflow: 'coalesce', maxItems: 2 });
    for (const letter of 'abcd') channel.offer(letter);
    expect(channel.isMerging).toBe(true);
    const before = memory.chunks;
    for (const letter of 'efgh') expect(channel.offer(letter)).toBe('accepted');
    expect(memory.chunks).toEqual(before);
    // Of eight letters each weighs one: what does not fit is not taken.
    expect(channel.offer('i')).toBe('full');
    expect(reader.take()).toBe('abcdefgh');
    expect(reader.mergedItems).toBe(7);
    expect(channel.isMerging).toBe(false);
    channel.offer('i');
    expect(drain(reader)).toEqual(['i']);
  });

  test('what waits to be written is an object of its own', async () => {
    const { channel, memory } = open();
    const reader = channel.reader();
    for (let count = 0; count < 8; count += 1) channel.offer('a');
    const written = channel.write('b');
    expect(memory.owned).toEqual(['b']);
    expect(reader.takeAll()).toHaveLength(8);
    await written;
    expect(reader.take()).toBe('b');
  });
});

describe('the other policies', () => {
  const open = (): ReturnType<typeof openChannel<string>> =>
    openChannel<string>({
      maxItems: 100,
      weigh: (text) => text.length,
      merge: (first, second) => (first + second === 'AB' ? undefined : first + second),
      maxMergedBytes: 4,
    });

  test('drop-newest loses what comes, and goes on when there is room', () => {
    const channel = open();
    const reader = channel.reader({ overflow: 'drop-newest', maxItems: 2 });
    for (const text of ['a', 'b', 'c', 'd']) expect(channel.offer(text)).toBe('accepted');
    // What it does not need any more does not stay in the channel for it.
    expect(channel.heldBytes).toBe(0);
    expect(reader.take()).toBe('a');
    channel.offer('e');
    channel.offer('f');
    expect(reader.offset).toBe(1);
    expect(drain(reader)).toEqual([
      'b',
      new Gap(2, 4, 2, 'drop-newest'),
      'e',
      new Gap(5, 6, 1, 'drop-newest'),
    ]);
    expect(reader).toMatchObject({ deliveredItems: 3, droppedItems: 3, waitingItems: 0, waitingBytes: 0 });
  });

  test('latest keeps only the newest', () => {
    const channel = open();
    const seen: Gap[] = [];
    const reader = channel.reader({ overflow: 'latest', maxItems: 2, onGap: (gap) => seen.push(gap) });
    for (const text of ['a', 'b', 'c', 'd', 'e']) channel.offer(text);
    expect(drain(reader)).toEqual([new Gap(0, 4, 4, 'latest'), 'e']);
    expect(seen).toEqual([new Gap(0, 2, 2, 'latest'), new Gap(2, 4, 2, 'latest')]);
  });

  test('disconnect says where to come back', async () => {
    const channel = openChannel<string>({ maxItems: 2, replay: { maxItems: 10 } });
    const reader = channel.reader({ overflow: 'disconnect', maxItems: 2 });
    channel.offer('a');
    reader.take();
    for (const text of ['b', 'c', 'd']) channel.offer(text);
    expect(reader.end).toEqual({ state: 'disconnected', offset: 1 });
    await expect(all(reader)).rejects.toMatchObject({ code: 'reader_disconnected' });
    expect(drain(channel.reader({ from: 1 }))).toEqual(['b', 'c', 'd']);
  });

  test('coalesce merges what waited, and not what comes while the reader keeps up', async () => {
    const channel = open();
    const reader = channel.reader({ overflow: 'coalesce' });
    const waits = reader.ready();
    channel.offer('a');
    channel.offer('b');
    await waits;
    expect(drain(reader)).toEqual(['a', 'b']);
    for (const text of ['c', 'd', 'e', 'f', 'g']) channel.offer(text);
    await reader.ready();
    expect(drain(reader)).toEqual(['cdef', 'g']);
    expect(reader).toMatchObject({ deliveredItems: 4, mergedItems: 3 });
  });

  test('coalesce: a loop gets merged what came while it was busy', async () => {
    const channel = open();
    const reader = channel.reader({ overflow: 'coalesce' });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const text of reader) {
        seen.push(text);
        if (text === 'a') for (const later of ['b', 'c', 'd']) channel.offer(later);
        if (text === 'bcd') channel.complete();
      }
    })();
    channel.offer('a');
    await reading;
    expect(seen).toEqual(['a', 'bcd']);
  });

  test('coalesce makes room by merging, then blocks', async () => {
    const channel = open();
    const reader = channel.reader({ overflow: 'coalesce', maxItems: 2 });
    for (const text of ['a', 'b', 'c', 'd', 'A', 'B'])
      expect(channel.offer(text)).toBe(text === 'B' ? 'full' : 'accepted');
    expect(reader.waitingItems).toBe(2);
    expect(channel.heldBytes).toBe(5);
    await reader.ready();
    expect(drain(reader)).toEqual(['abcd', 'A']);
  });

  test('coalesce never merges across the cursor of another reader', () => {
    const channel = open();
    const behind = channel.reader({ overflow: 'coalesce', maxItems: 3 });
    const ahead = channel.reader({ overflow: 'coalesce' });
    for (const text of ['a', 'b', 'c']) channel.offer(text);
    expect(ahead.take()).toBe('a');
    expect(channel.offer('d')).toBe('accepted');
    expect(drain(behind)).toEqual(['a', 'bcd']);
    expect(drain(ahead)).toEqual(['bcd']);
    for (const reader of [behind, ahead]) expect(reader).toMatchObject({ mergedItems: 2, waitingBytes: 0 });
  });

  test('coalesce: a reader that keeps up or asked for nothing gets its own chunks', () => {
    const channel = open();
    const lagging = channel.reader({ overflow: 'coalesce', maxItems: 2 });
    const waiting = channel.reader();
    const live = channel.reader();
    for (const text of ['a', 'b', 'c']) {
      if (channel.offer(text) === 'accepted') expect(live.take()).toBe(text);
    }
    expect(lagging.waitingItems).toBe(2);
    expect(drain(waiting)).toEqual(['a', 'b']);
  });
});

describe('a replay window', () => {
  test('keeps what was read, so that a reader can come back', () => {
    const channel = openChannel<string>({ maxItems: 2, replay: { maxItems: 3 } });
    const reader = channel.reader();
    for (const text of ['a', 'b', 'c', 'd', 'e']) {
      channel.offer(text);
      reader.take();
    }
    expect(channel.oldestOffset).toBe(2);
    expect(drain(channel.reader({ from: 3 }))).toEqual(['d', 'e']);
    const gone = 'Offset 1 is gone, or part of a merged chunk; ';
    const isGone = (kept: string): unknown =>
      expect.objectContaining({ code: 'history_gone', message: gone + kept });
    expect(() => channel.reader({ from: 1 })).toThrow(isGone('the oldest chunk that is kept is 2.'));
    expect(() => channel.reader({ from: 6 })).toThrow(expect.objectContaining({ code: 'invalid_option' }));
    channel.cancel();
    expect(() => channel.reader({ from: 1 })).toThrow(isGone('nothing before offset 5 is kept.'));
  });

  test('is bounded in bytes', () => {
    const channel = openChannel<string>({
      maxItems: 9,
      weigh: (text) => text.length,
      replay: { maxBytes: 4 },
    });
    for (const text of ['aa', 'bb', 'cc', 'dd']) channel.offer(text);
    expect(channel.oldestOffset).toBe(2);
    expect(channel.heldBytes).toBe(4);
  });

  test('is bounded in time', async () => {
    const clock = new VirtualClock();
    const channel = openChannel<string>({ maxItems: 9, replay: { maxAgeMs: 60_000 }, clock });
    channel.offer('old');
    await clock.advance(60_000);
    channel.offer('new');
    expect(channel.oldestOffset).toBe(0);
    await clock.advance(1);
    channel.offer('newer');
    expect(channel.oldestOffset).toBe(1);
  });

  test('is bounded in time also after a silence: who comes then gets nothing older', async () => {
    const clock = new VirtualClock();
    const open = (): Channel<string> => {
      const silent = openChannel<string>({
        maxItems: 9,
        weigh: () => 1,
        replay: { maxAgeMs: 60_000 },
        clock,
      });
      for (const chunk of ['a', 'b']) silent.offer(chunk);
      return silent;
    };
    const [first, second, third, ...others] = Array.from({ length: 5 }, open);
    await clock.advance(60_001);
    expect(first?.reader().takeAll()).toEqual([]);
    expect(() => second?.reader({ from: 0 })).toThrow(expect.objectContaining({ code: 'history_gone' }));
    expect(third?.newest(9)).toEqual([]);
    expect(others.map((channel) => channel.oldestOffset)).toEqual([2, 2]);
    expect(others.map((channel) => channel.heldBytes)).toEqual([0, 0]);
  });

  test('what waits is no history, however old it is', async () => {
    const clock = new VirtualClock();
    const channel = openChannel<string>({ maxItems: 9, replay: { maxAgeMs: 60_000 }, clock });
    const reader = channel.reader();
    const fast = channel.reader();
    for (const chunk of ['a', 'b']) channel.offer(chunk);
    expect(drain(fast)).toEqual(['a', 'b']);
    await clock.advance(60_001);
    expect(channel.oldestOffset).toBe(0);
    expect(reader.take()).toBe('a');
    expect(channel.oldestOffset).toBe(1);
    expect(reader.take()).toBe('b');
    expect(channel.oldestOffset).toBe(2);
  });

  test('keeps the less the more waits', () => {
    const channel = openChannel<string>({
      maxItems: 9,
      weigh: (text) => text.length,
      replay: { maxHeldBytes: 4 },
    });
    const reader = channel.reader();
    for (const text of ['a', 'b', 'c', 'd']) channel.offer(text);
    reader.takeAll({ maxItems: 2 });
    expect(channel.oldestOffset).toBe(0);
    channel.offer('e');
    expect(channel.oldestOffset).toBe(1);
    channel.offer('fghijk');
    // What waits is kept whatever it weighs.
    expect([channel.oldestOffset, channel.heldBytes]).toEqual([2, 9]);
    expect(drain(reader)).toEqual(['c', 'd', 'e', 'fghijk']);
  });

  test('merges before it lets go, but for what is newest', () => {
    // As deltas do: one envelope of ten instead of two.
    const channel = openChannel<string>({
      maxItems: 9,
      weigh: (text) => text.length + 10,
      merge: (first, second) => first + second,
      maxMergedBytes: 30,
      replay: { maxHeldBytes: 88, merges: true },
    });
    const reader = channel.reader();
    for (const letter of 'abcdefghij') {
      channel.offer(letter);
      reader.take();
    }
    expect(channel.heldBytes).toBeLessThanOrEqual(88);
    expect(channel.oldestOffset).toBe(0);
    const back = channel.reader({ from: 9 });
    expect(drain(back)).toEqual(['j']);
    expect(() => channel.reader({ from: 1 })).toThrow(expect.objectContaining({ code: 'history_gone' }));
    expect(drain(channel.reader()).join('')).toBe('abcdefghij');
  });

  test('also merges what waits, if that is most of it', () => {
    const channel = openChannel<string>({
      maxItems: 9,
      weigh: (text) => text.length + 10,
      merge: (first, second) => first + second,
      replay: { maxHeldBytes: 88, merges: true },
    });
    const reader = channel.reader({ overflow: 'coalesce' });
    channel.offer('a');
    reader.take();
    for (const letter of 'bcdefghij') channel.offer(letter);
    expect(channel.oldestOffset).toBe(0);
    expect(drain(channel.reader()).join('')).toBe('abcdefghij');
    expect(drain(reader).join('')).toBe('bcdefghij');
  });

  test.each(['before', 'after'] as const)(
    'its merge forgets what it remembers, when the last reader leaves %s the end',
    (when) => {
      let forgotten = 0;
      const merge = Object.assign((first: string, second: string) => first + second, {
        forget: () => (forgotten += 1),
      });
      const replay = { maxHeldBytes: 88, merges: true };
      const channel = openChannel<string>({ maxItems: 9, weigh: (text) => text.length, merge, replay });
      const reader = channel.reader({ overflow: 'coalesce' });
      channel.offer('a');
      channel.offer('b');
      if (when === 'before') reader.detach();
      expect(forgotten).toBe(0);
      channel.complete();
      expect(forgotten).toBe(when === 'before' ? 1 : 0);
      reader.detach();
      expect(forgotten).toBe(1);
      expect(drain(channel.reader()).join('')).toBe('ab');
    },
  );

  test('does without readers: nobody is waited for', () => {
    const channel = openChannel<number>({ maxItems: 2, replay: { maxItems: 2 } });
    for (let chunk = 0; chunk < 10; chunk += 1) expect(channel.offer(chunk)).toBe('accepted');
    channel.complete();
    expect(drain(channel.reader())).toEqual([8, 9]);
  });
});

describe('what can be seen', () => {
  test('without another clock, the age of what waits is that of the system’s', async () => {
    const channel = openChannel<number>({ maxItems: 2, measureAge: true });
    const reader = channel.reader();
    channel.offer(1);
    const startMs = performance.now();
    while (performance.now() - startMs < 2) await new Promise((resolve) => setTimeout(resolve, 2));
    expect(reader.ageMs).toBeGreaterThanOrEqual(2);
    expect(reader.ageMs).toBeLessThan(60_000);
  });

  test('the age of what waits', async () => {
    const clock = new VirtualClock();
    const channel = openChannel<number>({ maxItems: 2, measureAge: true, clock });
    const reader = channel.reader();
    expect(reader.ageMs).toBe(0);
    channel.offer(1);
    await clock.advance(15);
    expect(reader.ageMs).toBe(15);
    expect(openChannel({ maxItems: 1 }).reader().ageMs).toBe(0);
  });

  test('a gap has no age, and does not hide that of what comes behind it', async () => {
    const clock = new VirtualClock();
    const channel = openChannel<number>({ maxItems: 2, measureAge: true, clock });
    const reader = channel.reader({ overflow: 'drop-newest' });
    await clock.advance(20);
    for (const chunk of [1, 2, 3]) channel.offer(chunk);
    expect(reader.takeAll({ maxItems: 2 })).toEqual([1, 2]);
    expect(reader.waitingItems).toBe(0);
    expect(reader.ageMs).toBe(0);
    channel.offer(4);
    await clock.advance(5);
    expect(reader.ageMs).toBe(5);
    expect(reader.takeAll()).toEqual([new Gap(2, 3, 0, 'drop-newest'), 4]);
    expect(reader.ageMs).toBe(0);
  });

  test('takeAll takes what is there, or as much as it may', () => {
    const channel = openChannel<string>({ maxItems: 9, weigh: (text) => text.length });
    const reader = channel.reader();
    for (const text of ['aa', 'bb', 'cc', 'dddd']) channel.offer(text);
    expect(reader.takeAll({ maxBytes: 5 })).toEqual(['aa', 'bb']);
    expect(reader.takeAll({ maxBytes: 1 })).toEqual(['cc']);
    expect(reader.takeAll()).toEqual(['dddd']);
    expect(reader.takeAll()).toEqual([]);
  });
});

describe('merges', () => {
  test('makes room before the policy is carried out', () => {
    const channel = openChannel<string>({
      maxBytes: 30,
      // One envelope instead of two.
      weigh: (text) => text.length + 10,
      merge: (first, second) => (second === '!' ? undefined : first + second),
    });
    const reader = channel.reader({ overflow: 'disconnect', merges: true });
    for (const text of ['a', 'b', 'c', 'd', 'e']) channel.offer(text);
    expect(reader.end).toBeUndefined();
    for (const text of ['!', '!', '!']) channel.offer(text);
    expect(reader.end).toEqual({ state: 'disconnected', offset: 0 });
  });

  test('needs a merge, and no store', () => {
    const store = createMemoryStore<string>({ maxBytes: 100 });
    const bare = openChannel({ maxItems: 1 });
    const needsMerge = 'needs a channel with merge, the function that joins two neighbours.';
    expect(() => bare.reader({ merges: true })).toThrow(`The option merges ${needsMerge}`);
    expect(() => bare.reader({ overflow: 'coalesce' })).toThrow(`The policy coalesce ${needsMerge}`);
    const channel = openChannel<string>({
      maxItems: 1,
      weigh: () => 1,
      merge: (first, second) => first + second,
    });
    expect(() => channel.reader({ merges: true, overflow: spillTo(store) })).toThrow(
      'The option merges cannot be together with spillTo: what is in a store is not merged.',
    );
  });
});

describe('wrong options', () => {
  test.each([
    [{}, 'A channel needs a bound'],
    [{ maxBytes: 5 }, 'maxBytes needs weigh'],
    [{ maxMs: 5 }, 'maxMs needs durationMs'],
    [{ maxItems: 0 }, 'maxItems: expected a whole number, 1 or more, got 0.'],
    [{ maxItems: 1, merge: () => undefined }, 'merge needs weigh'],
    [{ maxItems: 1, replay: { maxBytes: 5 } }, 'replay.maxBytes needs weigh'],
    [{ maxItems: 1, replay: { maxHeldBytes: 5 } }, 'replay.maxHeldBytes needs weigh'],
    [{ maxItems: 1, replay: { maxItems: -1 } }, 'maxItems: expected a whole number, 0 or more, got -1.'],
    [{ maxItems: 1, replay: { merges: true } }, 'A replay window that merges needs'],
    [{ maxItems: Number.NaN }, 'maxItems: expected a whole number, 1 or more, got NaN.'],
  ])('%j', (options, message) => {
    expect(() => openChannel(options)).toThrow(SpillwayError);
    expect(() => openChannel(options)).toThrow(message);
  });

  test.each([
    [{ maxBytes: 5 }, 'maxBytes needs weigh'],
    [{ maxMs: 5 }, 'maxMs needs durationMs'],
    [{ credit: [openCredit({ maxItems: 1 }), openCredit({ maxBytes: 5 })] }, 'credit in bytes needs weigh'],
    [{ credit: [openCredit({ maxItems: 1, maxMs: 5 })] }, 'credit in ms needs durationMs'],
  ])('a reader has no bound on what its channel does not measure: %#', (options, message) => {
    const channel = openChannel<string>({ maxItems: 1 });
    expect(() => channel.reader(options)).toThrow(
      expect.objectContaining({ code: 'invalid_option', message: expect.stringContaining(message) }),
    );
    const measured = openChannel<string>({ maxItems: 1, weigh: () => 1, durationMs: () => 1 });
    expect(measured.reader(options).end).toBeUndefined();
  });

  // Three of 1e308 are infinite; behind 2^53 a byte more or less is none.
  test.each([-1, Number.NaN, Infinity, 1e308, 2 ** 53])(
    'a weight or a duration that is none, or beyond all sums, is refused and nothing is written: %d',
    async (measure) => {
      const invalid = expect.objectContaining({ code: 'invalid_option' });
      for (const what of ['weigh', 'durationMs']) {
        const channel = openChannel<number>({ maxItems: 5, [what]: (chunk: number) => chunk });
        const reader = channel.reader();
        expect(() => channel.offer(measure)).toThrow(invalid);
        // Rejected and not thrown: whoever only awaits it, later, sees it.
        const writes = [channel.write(measure), channel.write(1)];
        await expect(writes[0]).rejects.toEqual(invalid);
        await writes[1];
        expect(drain(reader)).toEqual([1]);
      }
    },
  );

  test('a policy that is none', () => {
    const channel = openChannel<number>({ maxItems: 5 });
    expect(() => channel.reader({ overflow: 'sometimes' as 'block' })).toThrow('overflow: expected');
  });

  test('newest takes a number of chunks', () => {
    const channel = openChannel<number>({ maxItems: 5 });
    for (const chunk of [1, 2, 3]) channel.offer(chunk);
    expect([0, 2, 3, 9, Infinity].map((items) => channel.newest(items))).toEqual([
      [],
      [2, 3],
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3],
    ]);
    for (const items of [-1, 1.5, Number.NaN, -Infinity])
      expect(() => channel.newest(items)).toThrow(expect.objectContaining({ code: 'invalid_option' }));
  });
});

describe('a bound in milliseconds', () => {
  const tones = (maxMs: number): Channel<number> => openChannel<number>({ maxMs, durationMs: (ms) => ms });

  test('is reached by duration, and a chunk longer than it is taken when nothing else waits', () => {
    const channel = tones(100);
    const reader = channel.reader();
    expect(channel.offer(60)).toBe('accepted');
    expect(channel.offer(41)).toBe('full');
    expect(channel.offer(40)).toBe('accepted');
    expect(reader.waitingMs).toBe(100);
    expect(reader.takeAll()).toEqual([60, 40]);
    expect(channel.offer(500)).toBe('accepted');
    expect(channel.offer(0)).toBe('full');
  });

  test("is each reader's own, and credit in milliseconds is spent", () => {
    const channel = tones(1000);
    const credit = openCredit({ maxMs: 50, initial: { ms: 50 } });
    const played = channel.reader({ credit: [credit] });
    const meter = channel.reader({ overflow: 'drop-oldest', maxMs: 30 });
    for (const ms of [20, 20, 20]) expect(channel.offer(ms)).toBe('accepted');
    expect(meter.takeAll()).toEqual([new Gap(0, 2, 0, 'drop-oldest'), 20]);
    expect(played.takeAll()).toEqual([20, 20]);
    expect(credit.available.ms).toBe(10);
    credit.grant({ ms: 10 });
    expect(played.take()).toBe(20);
    expect(credit.available.ms).toBe(0);
  });
});

describe('pressure', () => {
  test('high once, low once, whichever bound it is', () => {
    const channel = openChannel<string>({ maxItems: 8, maxBytes: 100, weigh: (text) => text.length });
    const said: string[] = [];
    const reader = channel.reader({
      onPressure: (pressure) => said.push(`${pressure} ${reader.waitingItems}`),
    });
    for (let count = 0; count < 8; count += 1) channel.offer('x');
    expect(said).toEqual(['high 7']);
    while (reader.waitingItems > 3) reader.take();
    channel.offer('x');
    expect(said).toEqual(['high 7']);
    reader.takeAll({ maxItems: 2 });
    expect(said).toEqual(['high 7', 'low 2']);
    channel.offer('x'.repeat(80));
    expect(said).toEqual(['high 7', 'low 2', 'high 3']);
    expect(reader.takeAll()).toHaveLength(3);
    expect(said).toEqual(['high 7', 'low 2', 'high 3', 'low 0']);
  });

  test('who is told may detach', () => {
    const channel = openChannel<number>({ maxItems: 2 });
    const reader = channel.reader({ highWatermark: 0.5, lowWatermark: 0, onPressure: () => reader.detach() });
    const other = channel.reader();
    expect(channel.offer(1)).toBe('accepted');
    expect(channel.offer(2)).toBe('accepted');
    expect(reader.end).toEqual({ state: 'detached' });
    expect(other.takeAll()).toEqual([1, 2]);
  });
});

test('coalesce: what was merged behind a reader that had asked is not taken twice', () => {
  const merged: string[] = [];
  const channel = openChannel<string>({
    maxItems: 6,
    weigh: (text) => text.length,
    merge: (a, b) => {
      merged.push(`${a}+${b}`);
      return /^[a-z]*$/.test(a + b) ? a + b : undefined;
    },
    maxMergedBytes: 5,
  });
  const reader = channel.reader({ overflow: 'coalesce' });
  for (const letter of 'aBcdefghi') expect(channel.offer(letter)).toBe('accepted');
  // It asked when six entries waited; merging for the next chunk leaves five.
  void reader.ready();
  expect(channel.offer('j')).toBe('accepted');
  expect(reader.takeAll().join('')).toBe('aBcdefghij');
  expect(merged.join()).not.toContain('undefined');
});

test('takeAll: what is merged as it is taken keeps within the limit, too', () => {
  const channel = openChannel<string>({
    maxItems: 1000,
    weigh: (text) => text.length,
    merge: (a, b) => a + b,
  });
  const reader = channel.reader({ overflow: 'coalesce' });
  for (let count = 0; count < 1000; count += 1) channel.offer('x');
  expect(reader.whenReady(() => undefined)).toBe(true);
  expect(reader.takeAll({ maxBytes: 100 }).join('')).toHaveLength(100);
  expect(reader.takeAll({ maxBytes: 64, maxItems: 1 })).toEqual(['x'.repeat(64)]);
  expect(reader.takeAll().join('')).toHaveLength(836);
});

test('what lies behind a reader that does not merge is merged when that reader has passed it', () => {
  const channel = openChannel<string>({
    maxItems: 100,
    weigh: (text) => text.length,
    merge: (a, b) => a + b,
  });
  const slow = channel.reader({ overflow: 'coalesce' });
  const quick = channel.reader();
  let written = 0;
  // It takes half of what is there whenever the channel is full.
  for (let round = 0; round < 6; round += 1) {
    while (channel.offer('x') === 'accepted') written += 1;
    quick.takeAll({ maxItems: Math.ceil(quick.waitingItems / 2) });
  }
  expect(written).toBeGreaterThan(340);
  expect(slow.takeAll().join('')).toHaveLength(written);
});

test('a stream that began elsewhere goes on at its offset', () => {
  for (const firstOffset of [7, 2 ** 31 - 2, 2 ** 32 - 2, Number.MAX_SAFE_INTEGER - 10]) {
    const channel = openChannel<string>({ maxItems: 4, firstOffset, replay: { maxItems: 10 } });
    for (const letter of 'abcd') expect(channel.offer(letter)).toBe('accepted');
    expect(channel.oldestOffset).toBe(firstOffset);
    expect(channel.nextOffset).toBe(firstOffset + 4);
    expect(channel.reader({ from: firstOffset + 2 }).takeAll()).toEqual(['c', 'd']);
  }
  for (const firstOffset of [-1, 0.5, Number.NaN, 2 ** 53]) {
    expect(() => openChannel({ maxItems: 1, firstOffset })).toThrow(
      expect.objectContaining({ code: 'invalid_option' }),
    );
  }
});
