import { describe, expect, test } from 'vitest';
import { Gap, openChannel, type Reader, SpillwayError } from '../src/index.ts';

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
    expect(channel.offer('x')).toBe('full');
    expect(drain(reader)).toEqual(['much too long']);
  });

  test('keeps chunks for its first reader', () => {
    const channel = openChannel<number>({ maxItems: 2 });
    expect([1, 2, 3].map((chunk) => channel.offer(chunk))).toEqual(['accepted', 'accepted', 'full']);
    expect(drain(channel.reader())).toEqual([1, 2]);
  });

  test('gives every reader everything, from one copy', () => {
    const channel = openChannel<object>({ maxItems: 10 });
    const readers = [channel.reader(), channel.reader(), channel.reader({ from: 'now' })];
    const chunk = {};
    channel.offer(chunk);
    for (const reader of readers) expect(reader.take()).toBe(chunk);
    const late = channel.reader({ from: 'now' });
    expect(late.take()).toBeUndefined();
  });

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
  test('comes behind what was written, for completed and failed', async () => {
    for (const end of ['complete', 'fail'] as const) {
      const channel = openChannel<number>({ maxItems: 5 });
      const reader = channel.reader();
      channel.offer(1);
      const error = new Error('cut');
      if (end === 'complete') channel.complete();
      else channel.fail(error);
      expect(reader.end).toBeUndefined();
      expect(await reader.ready()).toBe(true);
      expect(reader.take()).toBe(1);
      expect(await reader.ready()).toBe(false);
      expect(reader.end).toEqual(end === 'complete' ? { state: 'completed' } : { state: 'failed', error });
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
    expect(channel.waitingBytes).toBe(0);
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
    expect(reader.deliveredItems + reader.droppedItems).toBe(channel.head);
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

describe('wrong options', () => {
  test.each([
    [{}, 'A channel needs a bound'],
    [{ maxBytes: 5 }, 'maxBytes needs weigh'],
    [{ maxItems: 0 }, 'maxItems: expected 1 or more, got 0.'],
    [{ maxItems: Number.NaN }, 'maxItems: expected 1 or more, got NaN.'],
  ])('%j', (options, message) => {
    expect(() => openChannel(options)).toThrow(SpillwayError);
    expect(() => openChannel(options)).toThrow(message);
  });

  test('a weight that is none is refused and nothing is written', () => {
    const channel = openChannel<number>({ maxBytes: 5, weigh: (chunk) => chunk });
    const reader = channel.reader();
    for (const weight of [-1, Number.NaN, Infinity])
      expect(() => channel.offer(weight)).toThrow('weigh: expected');
    expect(reader.waitingItems).toBe(0);
    expect(() => channel.reader({ overflow: 'sometimes' as 'block' })).toThrow('overflow: expected');
  });
});
