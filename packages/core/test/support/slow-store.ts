import { createMemoryStore, type Store, type StoredChunk } from '../../src/index.ts';

/** A store in memory that takes its time: until somebody lets it proceed, or as long as `wait` says. */
export class SlowStore<T> implements Store<T> {
  readonly #store = createMemoryStore<T>({ maxBytes: 1_000_000 });
  readonly #waiting: (() => void)[] = [];
  pendingAppends = 0;
  isSealed = false;
  isSlow = true;
  /** Instead of waiting for `proceed`. */
  wait: (() => Promise<void>) | undefined;

  async append(chunks: readonly StoredChunk<T>[]): Promise<void> {
    this.pendingAppends += 1;
    // What is written may be visible before it is acknowledged.
    await this.#store.append(chunks);
    await this.#pause();
    this.pendingAppends -= 1;
  }

  async read(from: number, limits?: { maxBytes?: number; maxItems?: number }): Promise<StoredChunk<T>[]> {
    await this.#pause();
    return this.#store.read(from, limits);
  }

  async trim(before: number): Promise<void> {
    await this.#store.trim(before);
  }

  async seal(): Promise<void> {
    this.isSealed = true;
    await this.#store.seal();
  }

  /** Lets go on what waits longest, and what follows from it. */
  async proceed(): Promise<void> {
    for (let tick = 0; tick < 20; tick += 1) {
      if (tick === 10) this.#waiting.shift()?.();
      await Promise.resolve();
    }
  }

  async #pause(): Promise<void> {
    if (this.wait !== undefined) await this.wait();
    else if (this.isSlow) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
