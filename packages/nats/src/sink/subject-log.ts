import { setTimeout as sleep } from 'node:timers/promises';
import type { SinkRecord } from '@spillway/core';
import { type RecordPart, splitRecord } from '@spillway/core/engine';
import { NatsFailure } from '../connection/nats-failure.ts';
import type { NatsWire } from '../connection/nats-link.ts';
import { type EntryId, entryHeaders, readEntryId } from '../jetstream/entry-id.ts';
import {
  headersOf,
  type JetStreamApi,
  JetStreamRefusal,
  wrongLastSequence,
} from '../jetstream/jetstream-api.ts';

/** The last message of a subject. */
interface LastEntry {
  /** Its number in the JetStream stream. 0: there is none. */
  readonly at: number;
  /** Which part it has. `undefined`: there is none, or it is somebody else's. */
  readonly id: EntryId | undefined;
  /** The bytes of its value. */
  readonly bytes: number;
}

const nothing: LastEntry = { at: 0, id: undefined, bytes: 0 };
/** The streams whose last message is remembered. */
const maxKnown = 10_000;
/** What came from an earlier connection is looked for so often, and so long. */
const maxLooks = 20;
const lookMs = 25;

/** Appends records to the subjects of one prefix, over one connection, and knows what stands there. */
export class SubjectLog {
  readonly maxEntryBytes: number;
  readonly #api: JetStreamApi;
  readonly #prefix: string;
  /** The one that has not been used for longest first. */
  readonly #known = new Map<string, LastEntry>();

  constructor(api: JetStreamApi, prefix: string, maxEntryBytes: number) {
    this.#api = api;
    this.#prefix = prefix;
    this.maxEntryBytes = maxEntryBytes;
  }

  get wire(): NatsWire {
    return this.#api.wire;
  }

  /** Appends records of one stream behind its last message: those that are not there. */
  async append(stream: string, records: readonly SinkRecord[], isOver: () => boolean): Promise<void> {
    // A stream that begins has no message, most likely: if it has one, the first message is refused.
    let last = this.#known.get(stream) ?? (records[0]?.seq === 0 ? nothing : await this.#lastOf(stream));
    // Unknown, until all is acknowledged.
    this.#known.delete(stream);
    let looks = 0;
    for (const record of records) {
      let { next, parts } = this.#rest(record, last);
      while (next < parts.length) {
        const part = parts[next];
        if (part === undefined || isOver()) return;
        const at = await this.#publish(part, last.at);
        if (at === undefined) {
          looks += 1;
          if (looks > maxLooks)
            throw new NatsFailure(
              `subject ${this.#prefix}.${stream}: another program writes to it, or JetStream has not settled what was written before.`,
            );
          if (looks > 1) await sleep(lookMs);
          last = await this.#lastOf(stream);
          ({ next, parts } = this.#rest(record, last));
        } else {
          last = { at, id: part, bytes: part.value.byteLength };
          next += 1;
        }
      }
    }
    this.#remember(stream, last);
  }

  /** The parts of a record, and the first one that is missing. */
  #rest(record: SinkRecord, { bytes, id }: LastEntry): { parts: readonly RecordPart[]; next: number } {
    if (id !== undefined && (record.seq < id.seq || (record.seq === id.seq && id.part === id.parts - 1)))
      return { parts: [], next: 0 };
    if (id?.seq === record.seq) {
      // Half of it is there. The other half has to be cut as the first one was, which may have been otherwise than now.
      const parts = splitRecord(record, Math.max(1, bytes));
      if (parts.length === id.parts) return { parts, next: id.part + 1 };
    }
    return { parts: splitRecord(record, this.maxEntryBytes), next: 0 };
  }

  /**
   * Publishes a part behind the message of that number. `undefined`: another one stands there.
   *
   * A duplicate is looked at, too, and not believed: a cluster knows an id (`Nats-Msg-Id`) from when the message is under way,
   * and it may never be kept. Ids are sent because a cluster of 2.9 compares the number before the message is kept, and not
   * when: of two that are under way they end the second one.
   */
  async #publish(part: RecordPart, behind: number): Promise<number | undefined> {
    const headers = entryHeaders(part);
    headers.set('Nats-Expected-Last-Subject-Sequence', String(behind));
    try {
      const { isDuplicate, seq } = await this.#api.publish(
        `${this.#prefix}.${part.stream}`,
        part.value,
        headers,
        never,
      );
      return isDuplicate ? undefined : seq;
    } catch (error) {
      if (isUnsettled(error)) return undefined;
      throw error;
    }
  }

  /** Asks the stream's leader. */
  async #lastOf(stream: string): Promise<LastEntry> {
    const found = await this.#api.message({ last_by_subj: `${this.#prefix}.${stream}` }, never);
    if (found === undefined) return nothing;
    const headers = headersOf(found);
    const id = readEntryId((name) => headers.get(name));
    return { at: found.seq, id, bytes: Buffer.from(found.data ?? '', 'base64').byteLength };
  }

  #remember(stream: string, last: LastEntry): void {
    this.#known.set(stream, last);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= maxKnown) break;
      this.#known.delete(oldest);
    }
  }
}

/** The connection is ended by whoever waits. */
const never = new AbortController().signal;

/** Servers of 2.11 say it in words of their own when one with the same id, or on the same subject, is under way. */
function isUnsettled(error: unknown): boolean {
  return (
    error instanceof JetStreamRefusal &&
    (error.number === wrongLastSequence || /duplicate message|last sequence/i.test(error.message))
  );
}
