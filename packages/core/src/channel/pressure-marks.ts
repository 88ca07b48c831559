import type { ChannelReaderOptions } from './reader-host.ts';
import type { ReaderRoom } from './reader-room.ts';

/** The options of a reader that say where its marks are, and who is told. */
type Marks<T> = Pick<ChannelReaderOptions<T>, 'highWatermark' | 'lowWatermark' | 'onPressure'>;

/** The parts of a reader's bound at which its `onPressure` is told: `high`, and then not again before `low`. */
export class PressureMarks<T> {
  readonly #options: Marks<T>;
  /** Whether `high` was the last that was said. */
  isHigh = false;

  constructor(options: Marks<T>) {
    this.#options = options;
  }

  /** The part of the bound at which a chunk that is written has to be looked at; 1: at none below the bound. */
  get next(): number {
    const { highWatermark, onPressure } = this.#options;
    return onPressure === undefined || this.isHigh ? 1 : highWatermark;
  }

  /** Whether what waits has come past the next mark. `isHigh` then says which one that was. */
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
