import {
  type Channel,
  type ChannelEnd,
  type LosslessReaderOptions,
  openChannel,
  type Reader,
  type ReaderOptions,
  SpillwayError,
} from '@spillway/core';
import { createCoalesce } from '@spillway/core/format/coalesce';
import { openaiChat } from '@spillway/core/format/openai-chat';
import type { EventRun } from '@spillway/core/format/sse';
import { frameOverheadBytes } from '@spillway/core/session';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StreamLog } from '../../src/stream/stream-log.ts';

/** A history in a database, as another process would write it. */
export class Database {
  readonly #database = new DatabaseSync(':memory:');
  end: ChannelEnd | undefined;

  constructor() {
    this.#database.exec('CREATE TABLE runs (at INTEGER PRIMARY KEY, bytes BLOB NOT NULL)');
  }

  append({ bytes }: EventRun): void {
    this.#database.prepare('INSERT INTO runs (bytes) VALUES (?)').run(bytes);
  }

  /** Lets go of what lies before an offset. */
  trim(before: number): void {
    this.#database.prepare('DELETE FROM runs WHERE at <= ?').run(before);
  }

  /** Answers late, as whatever is somewhere else. */
  async range(): Promise<{ readonly oldest: number; readonly next: number }> {
    await sleep(2);
    const row = this.#database.prepare('SELECT min(at) AS oldest, max(at) AS next FROM runs').get();
    const { next, oldest } = row as { readonly oldest: number | null; readonly next: number | null };
    return { oldest: (oldest ?? 1) - 1, next: next ?? 0 };
  }

  /** How often it was asked. */
  reads = 0;
  /** It has nothing to say at the moment. */
  isSilent = false;
  /** Why nothing can be read of it. */
  fault: Error | undefined;

  async read(from: number): Promise<EventRun[]> {
    this.reads += 1;
    await sleep(2);
    if (this.fault !== undefined) throw this.fault;
    if (this.isSilent) return [];
    const rows = this.#database
      .prepare('SELECT at, bytes FROM runs WHERE at > ? ORDER BY at LIMIT 10')
      .all(from);
    if (rows.length > 0 && Number(rows[0]?.['at']) !== from + 1) {
      throw new SpillwayError('history_gone', `What was at offset ${from} is not kept any more.`);
    }
    return rows.map((row) => {
      const bytes = row['bytes'] as Uint8Array;
      return { bytes, byteLength: bytes.length, events: 1 };
    });
  }
}

/** Reads such a history: each reader follows it by itself, and has what waits for it merged in a channel of its own. */
export class FollowedLog implements StreamLog {
  readonly #database: Database;
  readonly heldBytes = 0;
  end: ChannelEnd | undefined;
  nextOffset = 0;
  oldestOffset = 0;
  isCancelled = false;

  constructor(database: Database) {
    this.#database = database;
  }

  async refresh(): Promise<void> {
    const { next, oldest } = await this.#database.range();
    this.nextOffset = next;
    this.oldestOffset = oldest;
    this.end = this.#database.end;
  }

  newest(): EventRun[] {
    return [];
  }

  reader(options?: LosslessReaderOptions<EventRun>): Reader<EventRun>;
  reader(options: ReaderOptions<EventRun>): ReturnType<Channel<EventRun>['reader']>;
  reader({ from = 'start', ...options }: ReaderOptions<EventRun> = {}): ReturnType<
    Channel<EventRun>['reader']
  > {
    const firstOffset = from === 'start' ? this.oldestOffset : from === 'now' ? this.nextOffset : from;
    const channel = openChannel<EventRun>({
      firstOffset,
      maxBytes: 16_384,
      weigh: ({ byteLength }) => byteLength + frameOverheadBytes,
      merge: createCoalesce(openaiChat.delta),
      measureAge: true,
    });
    const reader = channel.reader({
      ...options,
      maxBytes: Math.min(options.maxBytes ?? Infinity, 16_384),
    } as LosslessReaderOptions<EventRun>);
    void this.#follow(channel, firstOffset, () => reader.end !== undefined);
    return reader;
  }

  cancel(): void {
    this.isCancelled = true;
  }

  async #follow(channel: Channel<EventRun>, from: number, isOver: () => boolean): Promise<void> {
    try {
      for (let offset = from; !isOver();) {
        const runs = await this.#database.read(offset);
        for (const run of runs) if (channel.offer(run) === 'full') await channel.write(run);
        offset += runs.length;
        this.nextOffset = Math.max(this.nextOffset, offset);
        if (runs.length > 0 || this.#database.end === undefined) continue;
        this.end = this.#database.end;
        channel.complete();
        return;
      }
    } catch (error) {
      channel.fail(error as Error);
    }
  }
}
