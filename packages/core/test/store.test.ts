import { expect, test } from 'vitest';
import { createMemoryStore } from '../src/index.ts';
import { storeRules } from '../src/testing/store-rules.ts';

for (const { number, name, check } of storeRules(() => createMemoryStore({ maxBytes: 1_000_000 }))) {
  test(`store rule ${number}: ${name}`, check);
}

test('a memory store that is full refuses an append whole, and takes it when there is room', async () => {
  const store = createMemoryStore<string>({ maxBytes: 10 });
  const chunk = (from: number, bytes: number) => ({ from, to: from + 1, chunk: 'x', bytes, ms: 0, time: 0 });
  await store.append([chunk(0, 6)]);
  await expect(store.append([chunk(1, 2), chunk(2, 3)])).rejects.toMatchObject({ code: 'store_full' });
  expect(await store.read(0)).toEqual([chunk(0, 6)]);
  await store.trim(1);
  await store.append([chunk(1, 2), chunk(2, 3)]);
  expect(await store.read(1)).toHaveLength(2);
  expect(() => createMemoryStore({ maxBytes: 0 })).toThrow(
    expect.objectContaining({ code: 'invalid_option' }),
  );
});

test('the rules notice a store that breaks them', async () => {
  const rules = storeRules(() => ({
    append: async () => {},
    read: async () => [],
    trim: async () => {},
    seal: async () => {},
  }));
  const broken = new Set<number>();
  for (const { number, check } of rules) await check().catch(() => broken.add(number));
  // A store that forgets everything keeps only the rules about nothing.
  expect([...broken]).toEqual([1, 2, 4, 5, 7, 8, 9, 10]);
});

test('a memory store takes as many chunks at once as its bound allows', async () => {
  const store = createMemoryStore<number>({ maxBytes: 1_000_000 });
  const count = 300_000;
  await store.append(
    Array.from({ length: count }, (_, from) => ({
      from,
      to: from + 1,
      chunk: from,
      bytes: 1,
      ms: 0,
      time: 0,
    })),
  );
  expect(await store.read(count - 1)).toMatchObject([{ chunk: count - 1 }]);
});
