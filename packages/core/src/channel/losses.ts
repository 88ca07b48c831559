import type { ChunkLog, Entry } from './chunk-log.ts';
import { Gap } from './gap.ts';
import { KeptChunks } from './kept-chunks.ts';
import type { ChannelReaderOptions } from './reader-host.ts';

/**
 * The losses of a reader that its callbacks were not told of yet. A callback may make its reader lose more. Those
 * chunks are newer, so they are reported after the earlier losses.
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

  /** Adds the entries at [position, end), while they are in the chunk log. */
  addFrom(log: ChunkLog<T>, position: number, end: number): void {
    if (this.#onDrop === undefined) return;
    for (let at = position; at < end; at += 1) this.#untold.push(log.entryAt(at));
  }

  /** Calls the callbacks. A callback may call `tell` again, which then reports the rest. A throw ends the reports. */
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
