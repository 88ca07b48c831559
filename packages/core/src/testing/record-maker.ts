import { systemClock } from '../clock.ts';
import type { SinkRecord } from '../sink-record.ts';
import { VirtualClock } from './virtual-clock.ts';

const characters = ['a', 'Z', '7', '"', '\\', '\n', '\r', '\0', ' ', 'é', '水', '🙂', '{', '}', ','];
const streams = ['a', 'b', 'c', 'long-lived_1', 'D'];

/** Makes the records of a check, and all else of it that is random: the same for the same seed. */
export class RecordMaker {
  readonly #randomness: VirtualClock;
  readonly #engine: { value?(stream: string, seq: number, text: string): Uint8Array };
  readonly #made = new Map<string, SinkRecord[]>();

  /**
   * @param engine has a `value` where it does not take any bytes.
   */
  constructor(seed: number, engine: { value?(stream: string, seq: number, text: string): Uint8Array }) {
    this.#randomness = new VirtualClock({ seed });
    this.#engine = engine;
  }

  /** All records that were made, by stream. */
  get made(): ReadonlyMap<string, readonly SinkRecord[]> {
    return this.#made;
  }

  random(): number {
    return this.#randomness.random();
  }

  /** Makes the next records of a stream. */
  take(stream: string, count: number): SinkRecord[] {
    const made = this.#made.get(stream) ?? [];
    this.#made.set(stream, made);
    const from = made.length;
    const records = Array.from({ length: count }, (_, index) => ({
      stream,
      seq: from + index,
      value: this.valueOf(stream, from + index),
    }));
    made.push(...records);
    return records;
  }

  /** Makes a batch of 1 to 30 records of several streams. */
  nextBatch(): SinkRecord[] {
    const runs = 1 + Math.floor(this.random() * 6);
    return Array.from({ length: runs }, () => {
      const stream = streams[Math.floor(this.random() * streams.length)] ?? 'a';
      return this.take(stream, 1 + Math.floor(this.random() * 5));
    }).flat();
  }

  valueOf(stream: string, seq: number): Uint8Array {
    // Mostly small, sometimes empty, sometimes of more than a page, a packet or a buffer of 64 KiB.
    const kind = this.random();
    const length = kind < 0.1 ? 0 : kind < 0.98 ? Math.floor(this.random() * 300) : 70_000;
    if (this.#engine.value === undefined) return this.#randomness.randomBytes(length);
    const text = Array.from({ length }, () => characters[Math.floor(this.random() * characters.length)]).join(
      '',
    );
    return this.#engine.value(stream, seq, text);
  }

  /** Lets a random time pass: up to so many turns of the event loop. */
  async turns(most: number): Promise<void> {
    const turns = Math.floor(this.random() * (most + 1));
    for (let turn = 0; turn < turns; turn += 1) {
      await new Promise<void>((resolve) => {
        systemClock.after(0, resolve);
      });
    }
  }
}
