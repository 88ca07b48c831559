import type { ChannelReaderOptions } from './reader-host.ts';
import type { ReaderRoom } from './reader-room.ts';

/** The marks of a reader, and the callback for them. */
type Marks<T> = Pick<ChannelReaderOptions<T>, 'highWatermark' | 'lowWatermark' | 'onPressure'>;

/** Decides when a reader's `onPressure` is called: with `high`, and then not again before `low`. */
export class PressureMarks<T> {
  readonly #options: Marks<T>;
  /** Whether the last call said `high`. */
  isHigh = false;

  constructor(options: Marks<T>) {
    this.#options = options;
  }

  /** The part of the bound at which a written chunk has to be checked. 1: no mark lies below the bound. */
  get next(): number {
    const { highWatermark, onPressure } = this.#options;
    return onPressure === undefined || this.isHigh ? 1 : highWatermark;
  }

  /** Whether the waiting chunks have passed the next mark. `isHigh` then says which mark that was. */
  pass(room: ReaderRoom<T>, position: number): boolean {
    const { highWatermark, lowWatermark, onPressure } = this.#options;
    if (onPressure === undefined) return false;
    if (room.isBeyond(position, this.isHigh ? lowWatermark : highWatermark) === this.isHigh) return false;
    this.isHigh = !this.isHigh;
    return true;
  }

  tell(): void {
    this.#options.onPressure?.(this.isHigh ? 'high' : 'low');
  }
}
