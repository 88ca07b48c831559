import type { Store, StoredChunk } from '../channel/store.ts';

/** One rule of {@link Store}, and a check that a store keeps it. */
export interface StoreRule {
  /** The rule's number in the description of `Store`. */
  readonly number: number;
  /** The rule in a few words, for a test's name. */
  readonly name: string;
  /** Rejects when the store breaks the rule, with the expected and the actual result. */
  readonly check: () => Promise<void>;
}

/**
 * The rules that every store has to keep. Run each rule's check in a test of its own.
 *
 * @param openStore opens an empty store that holds at least 1 MB; called once for each rule.
 * @example
 * ```ts
 * for (const { number, name, check } of storeRules(() => openRedisStore(client, randomUUID()))) {
 *   test(`store rule ${number}: ${name}`, check);
 * }
 * ```
 */
export function storeRules(openStore: () => Promise<Store<string>> | Store<string>): readonly StoreRule[] {
  const rule = (number: number, name: string, prove: (store: Store<string>) => Promise<void>): StoreRule => ({
    number,
    name,
    check: async () => {
      const store = await openStore();
      try {
        await prove(store);
      } finally {
        await store.trim(Number.MAX_SAFE_INTEGER);
        await store.seal();
      }
    },
  });
  return [
    rule(1, 'what was appended is found, equal and in order', async (store) => {
      const chunks = [
        chunk(0),
        { from: 1, to: 4, chunk: 'merged "\n\0🙂', bytes: 17.5, ms: 40, time: 1234.5 },
        chunk(4),
      ];
      await store.append(chunks.slice(0, 2));
      await store.append(chunks.slice(2));
      expectEqual('all chunks', await store.read(0), chunks);
    }),
    rule(1, 'ten thousand chunks, appended and read in runs', async (store) => {
      for (let from = 0; from < 10_000; from += 500) await store.append(chunksOf(from, from + 500));
      let next = 0;
      while (next < 10_000) {
        const found = await store.read(next, { maxItems: 300 });
        expectEqual(`chunks from ${next}`, found, chunksOf(next, Math.min(next + 300, 10_000)));
        next = found.at(-1)?.to ?? Infinity;
      }
    }),
    rule(2, 'offsets may leave holes', async (store) => {
      await store.append([chunk(3), chunk(7)]);
      await store.append([chunk(20)]);
      expectEqual('all chunks', await store.read(0), [chunk(3), chunk(7), chunk(20)]);
    }),
    rule(2, 'what is not behind everything is refused whole', async (store) => {
      await store.append(chunksOf(0, 3));
      await expectCode('an offset again', 'out_of_order', store.append([chunk(2)]));
      await expectCode('a run in no order', 'out_of_order', store.append([chunk(5), chunk(4)]));
      await store.trim(3);
      await expectCode('an offset that was trimmed', 'out_of_order', store.append([chunk(1), chunk(9)]));
      expectEqual('what is there', await store.read(3), []);
    }),
    rule(3, 'no chunks are fine', async (store) => {
      await store.append([]);
      expectEqual('what is there', await store.read(0), []);
    }),
    rule(4, 'nothing is appended after seal', async (store) => {
      await store.append([chunk(0)]);
      await store.seal();
      await expectCode('an append', 'store_sealed', store.append([chunk(1)]));
      expectEqual('what is there', await store.read(0), [chunk(0)]);
    }),
    rule(5, 'reads begin at the offset and keep to the limits', async (store) => {
      await store.append([chunk(0), chunk(2), chunk(4), chunk(6)]);
      expectEqual('from a chunk', await store.read(2), [chunk(2), chunk(4), chunk(6)]);
      expectEqual('from between chunks', await store.read(3, { maxItems: 2 }), [chunk(4), chunk(6)]);
      expectEqual('exactly so many bytes', await store.read(0, { maxBytes: 20 }), [chunk(0), chunk(2)]);
      expectEqual('a byte less', await store.read(0, { maxBytes: 19 }), [chunk(0)]);
      expectEqual('less than one chunk', await store.read(0, { maxBytes: 1 }), [chunk(0)]);
    }),
    rule(6, 'a read with nothing to find does not wait', async (store) => {
      expectEqual('of an empty store', await store.read(0), []);
      await store.append([chunk(0)]);
      expectEqual('at the end', await store.read(1), []);
    }),
    rule(7, 'an offset that was trimmed is gone', async (store) => {
      await store.append(chunksOf(0, 5));
      await store.trim(3);
      await expectCode('a read of it', 'history_gone', store.read(2));
    }),
    rule(8, 'a trim releases what ends at its offset and no more', async (store) => {
      await store.append([chunk(0), { ...chunk(1), to: 4 }, chunk(4)]);
      await store.trim(1);
      expectEqual('behind it', await store.read(1), [{ ...chunk(1), to: 4 }, chunk(4)]);
      await store.trim(4);
      expectEqual('behind both', await store.read(4), [chunk(4)]);
    }),
    rule(9, 'a trim can be repeated, earlier or beyond the end', async (store) => {
      await store.append(chunksOf(0, 4));
      await store.trim(2);
      await store.trim(2);
      await store.trim(1);
      expectEqual('what is there', await store.read(2), [chunk(2), chunk(3)]);
      await store.trim(1000);
      await store.append([chunk(4)]);
      expectEqual('what came later', await store.read(4), [chunk(4)]);
    }),
    rule(10, 'a sealed store is read and trimmed on', async (store) => {
      await store.append(chunksOf(0, 3));
      await store.seal();
      await store.seal();
      await store.trim(1);
      expectEqual('what is there', await store.read(1), [chunk(1), chunk(2)]);
    }),
  ];
}

function chunk(offset: number): StoredChunk<string> {
  return { from: offset, to: offset + 1, chunk: `chunk ${offset}`, bytes: 10, ms: 0, time: offset * 20 };
}

function chunksOf(from: number, to: number): StoredChunk<string>[] {
  return Array.from({ length: to - from }, (_, index) => chunk(from + index));
}

function expectEqual(
  what: string,
  came: readonly StoredChunk<string>[],
  expected: readonly StoredChunk<string>[],
): void {
  const text = (chunks: readonly StoredChunk<string>[]): string =>
    JSON.stringify(
      chunks.map(({ from, to, chunk: value, bytes, ms, time }) => [from, to, value, bytes, ms, time]),
    );
  if (text(came) !== text(expected))
    throw new Error(`${what}: expected ${text(expected)}, got ${text(came)}`);
}

async function expectCode(what: string, code: string, operation: Promise<unknown>): Promise<void> {
  let came: unknown = 'no error';
  try {
    await operation;
  } catch (error) {
    came = error instanceof Error && 'code' in error ? error.code : error;
  }
  if (came !== code) throw new Error(`${what}: expected the error ${code}, got ${String(came)}`);
}
