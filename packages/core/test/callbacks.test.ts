import { describe, expect, test } from 'vitest';
import { Gap, openChannel, type Reader } from '../src/index.ts';

/** Somebody else's functions: called inside of a channel's steps, they may throw, leave and end what they like. */
const broken = new Error('broken');
const fail = (): never => {
  throw broken;
};

describe('a callback that throws ends its own reader', () => {
  test('onGap, whichever policy loses something', () => {
    for (const overflow of ['drop-oldest', 'drop-newest', 'latest'] as const) {
      const channel = openChannel<number>({ maxItems: 2 });
      const reader = channel.reader({ overflow, onGap: fail });
      const other = channel.reader({ maxItems: 100 });
      for (let item = 0; item < 5; item += 1) expect(channel.offer(item)).toBe('accepted');
      expect(reader.end).toEqual({ state: 'failed', error: broken });
      expect(reader.take()).toBeUndefined();
      expect(other.takeAll()).toEqual([0, 1, 2, 3, 4]);
    }
  });

  test('onPressure, when it is high and when it is low', () => {
    const channel = openChannel<number>({ maxItems: 4 });
    const high = channel.reader({ onPressure: fail });
    const low = channel.reader({ onPressure: (pressure) => (pressure === 'low' ? fail() : undefined) });
    const other = channel.reader();
    for (let item = 0; item < 4; item += 1) expect(channel.offer(item)).toBe('accepted');
    expect(high.end).toEqual({ state: 'failed', error: broken });
    expect(low.end).toBeUndefined();
    for (let taken = 0; low.end === undefined && taken < 4; taken += 1) low.take();
    expect(low.end).toEqual({ state: 'failed', error: broken });
    expect(other.takeAll()).toEqual([0, 1, 2, 3]);
  });

  test('whenReady', () => {
    const channel = openChannel<number>({ maxItems: 4 });
    const reader = channel.reader();
    const other = channel.reader();
    reader.whenReady(fail);
    expect(channel.offer(1)).toBe('accepted');
    expect(reader.end).toEqual({ state: 'failed', error: broken });
    expect(other.takeAll()).toEqual([1]);
  });
});

describe('a callback that ends something', () => {
  test('whoever detaches readers while they are woken keeps no other one waiting', () => {
    for (const detached of [0, 1, 2, 3]) {
      const channel = openChannel<number>({ maxItems: 4 });
      const woken: number[] = [];
      const readers: Reader<number>[] = [0, 1, 2, 3].map(() => channel.reader());
      for (const [index, reader] of readers.entries()) {
        reader.whenReady(() => {
          woken.push(index);
          if (index === 1 || index === 2) readers[detached]?.detach();
        });
      }
      expect(channel.offer(1)).toBe('accepted');
      expect(woken.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3]);
    }
  });

  test('the channel, while it makes room: what was offered is refused, and so is what was written', async () => {
    for (const write of [false, true]) {
      const channel = openChannel<number>({ maxItems: 1 });
      channel.reader({ overflow: 'drop-oldest', onGap: () => channel.complete() });
      expect(channel.offer(0)).toBe('accepted');
      if (write) await expect(channel.write(1)).rejects.toMatchObject({ code: 'channel_closed' });
      else expect(channel.offer(1)).toBe('closed');
      expect(channel.nextOffset).toBe(1);
    }
  });

  test('the channel, while it makes room for a write that waited', async () => {
    const channel = openChannel<number>({ maxItems: 1 });
    const slow = channel.reader();
    channel.reader({ overflow: 'drop-oldest', onGap: () => channel.complete() });
    await channel.write(0);
    const written = expect(channel.write(1)).rejects.toMatchObject({ code: 'channel_closed' });
    expect(slow.take()).toBe(0);
    await written;
    expect(channel.nextOffset).toBe(1);
  });
});

describe('a merge that throws fails the channel, and loses nothing', () => {
  const open = (merge: (a: string, b: string) => string | undefined, weigh = (text: string) => text.length) =>
    openChannel<string>({ maxItems: 4, weigh, merge });

  test('when room is made, and when something is taken late', async () => {
    for (const takesLate of [false, true]) {
      const channel = open(fail);
      const reader = channel.reader({ overflow: 'coalesce' });
      for (const letter of 'abcd') expect(channel.offer(letter)).toBe('accepted');
      if (takesLate) await reader.ready();
      const items = takesLate ? [reader.take()] : [];
      if (!takesLate) expect(channel.offer('e')).toBe('full');
      await Promise.resolve();
      expect(channel.end).toEqual({ state: 'failed', error: broken });
      expect([...items, ...reader.takeAll()].join('')).toBe('abcd');
      expect(reader.end).toEqual({ state: 'failed', error: broken });
    }
  });

  test('when something is merged with the newest, also by its weight', async () => {
    const channel = open(
      (a, b) => a + b,
      (text) => (text.length === 5 ? fail() : text.length),
    );
    const reader = channel.reader({ overflow: 'coalesce' });
    for (const letter of 'abcde') expect(channel.offer(letter)).toBe('accepted');
    await Promise.resolve();
    expect(channel.end).toEqual({ state: 'failed', error: broken });
    expect(reader.takeAll().join('')).toBe('abcde');
  });

  test('a write that waits for the room is told', async () => {
    const channel = open(fail);
    const reader = channel.reader({ overflow: 'coalesce' });
    for (const letter of 'abcd') expect(channel.offer(letter)).toBe('accepted');
    await expect(channel.write('e')).rejects.toMatchObject({ code: 'channel_closed', cause: broken });
    expect(reader.takeAll().join('')).toBe('abcd');
  });
});

describe('a write that waits goes on in the middle of a step', () => {
  test('whoever takes leaves what another reader has yet to take', () => {
    const channel = openChannel<number>({ maxItems: 4 });
    const block = channel.reader();
    const drop = channel.reader({ overflow: 'drop-oldest', maxItems: 2 });
    for (const item of [0, 1, 2, 3]) expect(channel.offer(item)).toBe('accepted');
    void channel.write(4);
    expect(block.takeAll({ maxItems: 3 })).toEqual([0, 1, 2]);
    expect(block.takeAll({ maxItems: 3 })).toEqual([3, 4]);
    expect(drop.takeAll()).toEqual([new Gap(0, 3, 0, 'drop-oldest'), 3, 4]);
  });

  test('a reader that ends while it takes takes no more, and nothing from others', async () => {
    for (const maxItems of [2, 3, 4, 5]) {
      for (const dropItems of [1, 2, 3].filter((items) => items < maxItems)) {
        const channel = openChannel<number>({ maxItems });
        const leaver = channel.reader();
        const other = channel.reader();
        let isArmed = false;
        channel.reader({
          overflow: 'drop-oldest',
          maxItems: dropItems,
          onGap: () => (isArmed ? leaver.detach() : undefined),
        });
        const items = Array.from({ length: maxItems + 1 }, (_, item) => item);
        for (const item of items.slice(0, -1)) expect(channel.offer(item)).toBe('accepted');
        const written = channel.write(maxItems);
        const got = [other.take()];
        isArmed = true;
        while (leaver.end === undefined) if (leaver.take() === undefined) got.push(other.take());
        for (let item = other.take(); item !== undefined; item = other.take()) got.push(item);
        await written;
        for (let item = other.take(); item !== undefined; item = other.take()) got.push(item);
        expect(channel.offer(maxItems + 1)).toBe('accepted');
        expect(leaver.take()).toBeUndefined();
        expect([...got, other.take()]).toEqual([...items, maxItems + 1]);
      }
    }
  });

  test('a reader that begins behind it lets it go on', async () => {
    const channel = openChannel<string>({ maxItems: 1 });
    await channel.write('before anybody read');
    const written = channel.write('a');
    const reader = channel.reader({ from: 'now' });
    expect(reader.take()).toBe('a');
    await written;
  });
});
