import { type RecordPart, RecordJoiner } from '@spillway/core/engine';
import type { SinkRecord } from '@spillway/core';
import type { HeldMessage } from './held-messages.ts';

/** A record, and the messages that it came in. */
export interface ReceivedRecord {
  readonly record: SinkRecord;
  readonly messages: readonly HeldMessage[];
}

/** What came of a message. */
export interface Received {
  /** Records that are whole now, in their order. */
  readonly records: readonly ReceivedRecord[];
  /** Messages of records that were whole before: they may be deleted. */
  readonly known: readonly HeldMessage[];
  /** Messages for whose other parts there is no room or no time: they come again. */
  readonly dropped: readonly HeldMessage[];
}

interface Part {
  readonly part: RecordPart;
  readonly message: HeldMessage;
}

/**
 * Makes records of messages. The last part of a record is in the order of its stream, and the others come at any time: while it
 * waits for them, so does what is behind it in its stream.
 *
 * A record is known by itself and not by its stream's last one: what somebody moves back from a dead-letter queue comes late and
 * is new.
 */
export class MessageOrder {
  readonly #joiner = new RecordJoiner<HeldMessage>();
  /** The last part that waits for others, and what came behind it, by stream. */
  readonly #behind = new Map<string, Part[]>();

  add(part: RecordPart, message: HeldMessage): Received {
    const records: ReceivedRecord[] = [];
    const known: HeldMessage[] = [];
    const waiting = this.#behind.get(part.stream);
    const isOrdered = part.part === part.parts - 1;
    if (isOrdered && waiting !== undefined) {
      waiting.push({ part, message });
      return { records, known, dropped: [] };
    }
    const isWhole = this.#join({ part, message }, records, known);
    if (isOrdered && !isWhole) this.#behind.set(part.stream, [{ part, message }]);
    // The first that waits has its other parts now.
    const isFirstWhole = waiting !== undefined && !isOrdered && isWhole && waiting[0]?.part.seq === part.seq;
    if (isFirstWhole) this.#goOn(part.stream, waiting.slice(1), records, known);
    return { records, known, dropped: this.#takeDropped() };
  }

  /** Drops what waits in vain. */
  dropOlder(isOlder: (message: HeldMessage) => boolean): readonly HeldMessage[] {
    this.#joiner.dropOlder(isOlder);
    return this.#takeDropped();
  }

  #goOn(stream: string, rest: Part[], records: ReceivedRecord[], known: HeldMessage[]): void {
    this.#behind.delete(stream);
    for (const [index, next] of rest.entries()) {
      if (this.#join(next, records, known)) continue;
      this.#behind.set(stream, rest.slice(index));
      return;
    }
  }

  /** Whether the record of that part is whole. */
  #join({ message, part }: Part, records: ReceivedRecord[], known: HeldMessage[]): boolean {
    // Each record as a stream of its own: only itself makes it known.
    const joined = this.#joiner.add({ ...part, stream: `${part.stream} ${part.seq}` }, message);
    if (joined.kind === 'known') known.push(joined.place);
    if (joined.kind === 'record')
      records.push({ record: { ...joined.record, stream: part.stream }, messages: joined.places });
    return joined.kind !== 'waiting';
  }

  #takeDropped(): readonly HeldMessage[] {
    const dropped: HeldMessage[] = [];
    for (const { places, seq, stream: id } of this.#joiner.takeLost()) {
      dropped.push(...places);
      const stream = id.slice(0, id.lastIndexOf(' '));
      const waiting = this.#behind.get(stream);
      if (waiting?.[0]?.part.seq !== seq) continue;
      // Nothing of the stream may go before it: all comes again, in its order.
      dropped.push(...waiting.slice(1).map(({ message }) => message));
      this.#behind.delete(stream);
    }
    return dropped;
  }
}
