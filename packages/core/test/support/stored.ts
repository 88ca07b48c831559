import { SpillwayError, type Store, type StoredChunk } from '../../src/index.ts';

/** What a store still has of the chunks below an offset. Asked for one that is gone, it says nothing of those behind it. */
export async function stored<T>(store: Store<T>, end: number): Promise<StoredChunk<T>[]> {
  for (let from = 0; from < end; from += 1) {
    try {
      return await store.read(from);
    } catch (error) {
      if (!(error instanceof SpillwayError && error.code === 'history_gone')) throw error;
    }
  }
  return [];
}
