import type { ChunkLog, Entry } from './chunk-log.ts';
import { Gap } from './gap.ts';
import { KeptChunks } from './kept-chunks.ts';
import type { ChannelReaderOptions } from './reader-host.ts';

/**
 * What a reader has lost and its callbacks have not been told of yet. A callback may make its reader lose more: that
 * stands behind what was lost before, so it is told behind it.
 */
export class Losses<T> {
  readonly #onDrop: ChannelReaderOptions<T>['onDrop'];
  readonly #onGap: ChannelReaderOptions<T>['onGap'];
  readonly #untold = new KeptChunks<T>();

  constructor(onDrop: ChannelReaderOptions<T>['onDrop'], onGap: ChannelReaderOptions<T>['onGap']) {
    this.#onDrop = onDrop;
    this.#onGap = onGap;
  }

  add(item: Entry<T> | Gap): void {
    if (item instanceof Gap || this.#onDrop !== undefined) this.#untold.push(item);
  }

  /** Adds the entries at [position, end), while the log still has them. */
  addFrom(log: ChunkLog<T>, position: number, end: number): void {
    if (this.#onDrop === undefined) return;
    for (let at = position; at < end; at += 1) this.#untold.push(log.entryAt(at));
  }

  /** Whoever is told may come back here, and then hears of the rest first. What a callback throws is the last that is told. */
  tell(): void {
    try {
      for (let item = this.#untold.shift(); item !== undefined; item = this.#untold.shift()) {
        if (item instanceof Gap) this.#onGap?.(item);
        else this.#onDrop?.(item.chunk, item.from, item.to);
      }
    } catch (reason) {
      this.#untold.clear();
      throw reason;
    }
  }
}
