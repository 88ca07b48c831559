import type { Gap, Reader, ReaderOptions } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { StreamBody, StreamOutcome } from './stream-body.ts';
import type { StreamTap } from './tap.ts';

/** A stream, as far as the tap's reader needs it. */
interface ReadByTap {
  /** The tap has finished with the stream. */
  tapDone(tap: TapReader): void;
  defect(where: string, error: unknown): void;
}

/** One tap's cursor on one stream. */
export class TapReader {
  readonly name: string;
  readonly #tap: StreamTap;
  readonly #stream: ReadByTap;
  #reader: Reader<EventRun | Gap> | undefined;

  constructor(stream: ReadByTap, name: string, tap: StreamTap) {
    this.#stream = stream;
    this.name = name;
    this.#tap = tap;
  }

  /** Whether the model goes on for this tap alone. */
  get isAudience(): boolean {
    return this.#tap.isAudience === true;
  }

  /** The bytes that wait for this tap in the channel. */
  get waitingBytes(): number {
    return this.#reader?.waitingBytes ?? 0;
  }

  /** The bytes that one run of several events may have for this tap. */
  get maxRunBytes(): number {
    return this.#tap.maxBytes ?? Infinity;
  }

  /** Whether this tap has yet to take the chunk at `offset`. `oldestOffset`: the channel's oldest chunk. */
  awaits(offset: number, oldestOffset: number): boolean {
    const reader = this.#reader;
    return (
      reader !== undefined && reader.end === undefined && offset >= Math.max(reader.offset, oldestOffset)
    );
  }

  /** The stream has a body, and no chunk has come yet. */
  begin(body: StreamBody): void {
    void this.#read(body);
  }

  /** The stream has ended, in one of its states. */
  ended(outcome: StreamOutcome): void {
    try {
      this.#tap.ended?.(outcome);
    } catch (error) {
      this.#stream.defect(`tap ${this.name}`, error);
    }
    if (this.#reader === undefined) this.#stream.tapDone(this);
  }

  async #read(body: StreamBody): Promise<void> {
    try {
      this.#reader = body.log.reader(this.#options(body));
      await this.#tap.read(this.#reader, body);
    } catch (error) {
      this.#stream.defect(`tap ${this.name}`, error);
    }
    this.#reader?.detach();
    this.#stream.tapDone(this);
  }

  #options({ format, maxWaitingBytes }: StreamBody): ReaderOptions<EventRun> {
    const { maxBytes = maxWaitingBytes, overflow = 'coalesce' } = this.#tap;
    return {
      maxBytes: Math.min(maxBytes, maxWaitingBytes),
      // Bytes cannot be merged.
      overflow: overflow === 'coalesce' && format === undefined ? 'block' : overflow,
    };
  }
}
