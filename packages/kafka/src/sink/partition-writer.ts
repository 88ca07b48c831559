import { createHash } from 'node:crypto';
import type { SinkRecord } from '@spillway/core';
import type { RecordPart } from '@spillway/core/engine';
import { entryBytes } from '../connection/kafka-entry.ts';

/** One batch of one partition, as it is sent. */
export interface Chunk {
  readonly partition: number;
  readonly entries: readonly { readonly part: RecordPart; readonly record: SinkRecord }[];
  /** The producer's number of the first entry. */
  readonly sequence: number;
}

/**
 * What a sink knows of one partition: up to where it has read it, and which numbers its producer goes on with.
 *
 * A batch without an answer may be kept, may come to be kept, or may not. Until that is read, nothing else is written there. Is it
 * not found, it is sent again as it was, with the same numbers: the broker then drops whichever comes second.
 */
export class PartitionWriter {
  readonly partition: number;
  /** Behind the last entry that was read or written here; `undefined`: nothing was. */
  end: number | undefined;
  /** Whether all that is kept is known. */
  isKnown = false;
  /** The producer's number of the next entry. */
  sequence = 0;
  /** The batch that has had no answer. */
  #doubtful: { readonly sequence: number; readonly count: number; readonly digest: string } | undefined;
  #maxEntries = Infinity;

  constructor(partition: number) {
    this.partition = partition;
  }

  /**
   * The next batch of what waits, without taking it. `undefined`: the batch that had no answer is not what comes first now, so
   * that its numbers cannot be used again.
   */
  next(waiting: Chunk['entries'], maxBytes: number): Chunk | undefined {
    const { partition, sequence } = this;
    if (this.#doubtful !== undefined) {
      const entries = waiting.slice(0, this.#doubtful.count);
      return digestOf(entries) === this.#doubtful.digest ? { partition, sequence, entries } : undefined;
    }
    let count = 0;
    for (let bytes = 0; count < Math.min(waiting.length, this.#maxEntries); count += 1) {
      const entry = waiting[count];
      bytes += entry === undefined ? 0 : entryBytes(entry.part);
      if (count > 0 && bytes > maxBytes) break;
    }
    return { partition, sequence, entries: waiting.slice(0, count) };
  }

  /** The batch is under way. */
  sent({ entries, sequence }: Chunk): void {
    this.isKnown = false;
    this.#doubtful = { sequence, count: entries.length, digest: digestOf(entries) };
  }

  /** The batch is kept, and ends there. */
  kept({ entries, sequence }: Chunk, end: number): void {
    this.#doubtful = undefined;
    this.#maxEntries = Infinity;
    this.sequence = sequence + entries.length;
    this.end = end;
    this.isKnown = true;
  }

  /** The broker takes none of the batch, and never will, as it is: a smaller one may do. */
  refused({ entries }: Chunk): void {
    this.#doubtful = undefined;
    this.#maxEntries = entries.length > 1 ? Math.floor(entries.length / 2) : Infinity;
    this.isKnown = true;
  }

  /** Found in the partition: a batch of this producer. */
  found(sequence: number, count: number): void {
    this.sequence = sequence + count;
    if (this.#doubtful !== undefined && this.sequence > this.#doubtful.sequence) this.#doubtful = undefined;
  }

  /** Another producer begins, with numbers of its own. */
  restart(): void {
    this.#doubtful = undefined;
    this.sequence = 0;
  }
}

function digestOf(entries: Chunk['entries']): string {
  const hash = createHash('sha256');
  for (const { part } of entries) hash.update(`${part.stream} ${part.seq} ${part.part} ${part.parts}\n`);
  return hash.digest('base64');
}
