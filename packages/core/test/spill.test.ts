import { expect, test } from 'vitest';
import {
  type Channel,
  createMemoryStore,
  openChannel,
  openCredit,
  spillTo,
  type Store,
} from '../src/index.ts';
import { VirtualClock } from '../src/testing/virtual-clock.ts';
import { SlowStore } from './support/slow-store.ts';
import { stored } from './support/stored.ts';
import { within } from './support/within.ts';

const open = (): Channel<string> => openChannel<string>({ maxBytes: 1000, weigh: (text) => text.length });
const line = (index: number): string => `${index}`.padEnd(100, '.');

test('one that lags loses nothing, slows nobody and holds no more than its bound', async () => {
  const channel = open();
  const store = createMemoryStore<string>({ maxBytes: 10_000_000 });
  const lagging = channel.reader({ overflow: spillTo(store) });
  const live = channel.reader();
  const seen: string[] = [];
  for (let index = 0; index < 1000; index += 1) {
    await channel.write(line(index));
    seen.push(...live.takeAll());
    expect(channel.heldBytes).toBeLessThanOrEqual(1000);
    expect(lagging.waitingBytes).toBeLessThanOrEqual(1000);
  }
  channel.complete();
  expect(seen).toHaveLength(1000);
  expect(lagging.spilledItems).toBeGreaterThan(900);
  expect(lagging.offset).toBe(0);
  const items: string[] = [];
  for await (const item of lagging) items.push(item);
  expect(items).toEqual(Array.from({ length: 1000 }, (_, index) => line(index)));
  expect(await stored(store, 1000)).toEqual([]);
  await expect(store.append([])).rejects.toMatchObject({ code: 'store_sealed' });
});

test('a store is trimmed as its reader takes, so that it need not hold everything', async () => {
  const channel = open();
  const reader = channel.reader({ overflow: spillTo(createMemoryStore<string>({ maxBytes: 3000 })) });
  const items: string[] = [];
  for (let index = 0; index < 500; index += 1) {
    await within(channel.write(line(index)), 'room');
    // It stays twenty behind.
    if (index < 20 || !(await reader.ready())) continue;
    items.push(...reader.takeAll({ maxItems: 1 }));
  }
  channel.complete();
  for await (const item of reader) items.push(item);
  expect(items).toEqual(Array.from({ length: 500 }, (_, index) => line(index)));
});

test('a store that fails fails its reader, with the cause, and nobody else', async () => {
  const channel = open();
  const lagging = channel.reader({ overflow: spillTo(createMemoryStore<string>({ maxBytes: 1500 })) });
  const live = channel.reader();
  let count = 0;
  for (; lagging.end === undefined && count < 100; count += 1) {
    await channel.write(line(count));
    live.takeAll();
  }
  expect(count).toBeLessThan(40);
  expect(lagging.end).toMatchObject({
    state: 'failed',
    error: { code: 'store_failed', cause: { code: 'store_full' } },
  });
  expect(channel.offer('x')).toBe('accepted');
  expect(live.take()).toBe('x');
});

test('a store that has lost chunks is noticed', async () => {
  const channel = open();
  const kept = createMemoryStore<string>({ maxBytes: 10_000 });
  const lossy: Store<string> = {
    append: (chunks) => kept.append(chunks.slice(1)),
    read: (from, limits) => kept.read(from, limits),
    trim: (before) => kept.trim(before),
    seal: () => kept.seal(),
  };
  const reader = channel.reader({ overflow: spillTo(lossy) });
  for (let index = 0; index < 9; index += 1) await channel.write(line(index));
  const read = async (): Promise<void> => {
    for await (const item of reader) expect(item).toBeUndefined();
  };
  await expect(read()).rejects.toMatchObject({ code: 'store_failed' });
});

test('the source waits for a store that is slower than it, and an abandoned store is emptied', async () => {
  const channel = open();
  const store = new SlowStore<string>();
  const reader = channel.reader({ overflow: spillTo(store) });
  let written = 0;
  while (channel.offer(line(written)) === 'accepted') written += 1;
  expect(written).toBe(10);
  const write = channel.write(line(written));
  await store.proceed();
  await write;
  reader.detach();
  await store.proceed();
  expect(store.isSealed).toBe(true);
  store.isSlow = false;
  expect(await stored(store, 11)).toEqual([]);
});

test('credit is spent on what comes back, and age is that of the oldest', async () => {
  const clock = new VirtualClock();
  const channel = openChannel<string>({ maxItems: 4, measureAge: true, clock });
  const credit = openCredit({ maxItems: 3, initial: { items: 2 } });
  const store = createMemoryStore<string>({ maxBytes: 1000 });
  const reader = channel.reader({ overflow: spillTo(store), credit: [credit] });
  for (const letter of 'abcdefgh') await channel.write(letter);
  await clock.advance(12);
  expect(reader.ageMs).toBe(12);
  const taken: string[] = [];
  while (taken.length < 2 && (await reader.ready())) taken.push(...reader.takeAll());
  expect(taken).toEqual(['a', 'b']);
  expect(reader.take()).toBeUndefined();
  const ready = reader.ready();
  credit.grant({ items: 1 });
  expect(await ready).toBe(true);
  expect(reader.takeAll()).toEqual(['c']);
});

test('what a store shows before it has acknowledged it is taken once', async () => {
  const channel = openChannel<number>({ maxItems: 8 });
  const kept = createMemoryStore<number>({ maxBytes: 1000 });
  const gate = Promise.withResolvers<void>();
  let appends = 0;
  const store: Store<number> = {
    append: async (chunks) => {
      await kept.append(chunks);
      appends += 1;
      if (appends === 2) await gate.promise;
    },
    read: (from, limits) => kept.read(from, limits),
    trim: (before) => kept.trim(before),
    seal: () => kept.seal(),
  };
  const reader = channel.reader({ overflow: spillTo(store) });
  // Five are stored, five under way; two are read back at once, so that the third time one of each comes.
  for (let item = 0; item < 10; item += 1) await channel.write(item);
  const items: number[] = [];
  while (items.length < 7 && (await reader.ready())) items.push(...reader.takeAll({ maxItems: 1 }));
  expect(appends).toBe(2);
  gate.resolve();
  await new Promise((resolve) => setTimeout(resolve));
  channel.complete();
  for await (const item of reader) items.push(item);
  expect(items).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('what is in the store comes when credit does, also after the end', async () => {
  const channel = openChannel<number>({ maxItems: 4 });
  const credit = openCredit({ maxItems: 2 });
  const reader = channel.reader({
    overflow: spillTo(createMemoryStore<number>({ maxBytes: 1000 })),
    credit: [credit],
  });
  for (let item = 0; item < 20; item += 1) await channel.write(item);
  channel.complete();
  const items: number[] = [];
  while (items.length < 20) {
    const ready = reader.ready();
    credit.grant({ items: 2 - credit.available.items });
    expect(await ready).toBe(true);
    items.push(...reader.takeAll());
  }
  expect(items).toEqual(Array.from({ length: 20 }, (_, item) => item));
  expect(await reader.ready()).toBe(false);
  expect(reader.end).toEqual({ state: 'completed' });
});
