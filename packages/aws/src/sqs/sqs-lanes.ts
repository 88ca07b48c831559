import type { SinkRecord } from '@spillway/core';
import { type RecordPart, type RefusedRecord, splitProblem, splitRecord } from '@spillway/core/engine';
import { idOf } from './sqs-message.ts';

/** A part that may be sent now. */
export interface LanePart extends RecordPart {
  readonly record: SinkRecord;
  /** The FIFO group. */
  readonly group: string;
}

/** A part, and what it was made into. */
export interface SendingPart<Entry> {
  readonly part: LanePart;
  readonly entry: Entry;
}

/** The records of one stream that are to be sent. The first of them is under way. */
interface Lane {
  readonly records: SinkRecord[];
  /** The parts of the first that are sent before its last one, and are not kept. */
  missing: number;
  /** Whether a record was refused, so that those behind it may be written again. */
  hasRefused: boolean;
}

/**
 * Which parts of a write may be sent now, so that each stream keeps its order: of whole records one of each stream at a time.
 *
 * Of a split record the last part is in the group of its stream, as a whole record is, and is sent when the others are kept.
 * Those are in groups of their own and have no order. A group of a FIFO queue gives no more than 10 messages until they are
 * deleted: parts that were all in one would never come together.
 */
export class SqsLanes {
  /** In the order in which they were refused. */
  readonly refused: RefusedRecord[] = [];
  readonly #lanes = new Map<string, Lane>();
  readonly #ready: LanePart[] = [];
  readonly #maxPartBytes: number;
  readonly #onKept: (record: SinkRecord) => void;

  /** @param onKept is told of each record that is kept, while all before it of its stream are. */
  constructor(records: readonly SinkRecord[], maxPartBytes: number, onKept: (record: SinkRecord) => void) {
    this.#maxPartBytes = maxPartBytes;
    this.#onKept = onKept;
    for (const [stream, ofStream] of Map.groupBy(records, (record) => record.stream)) {
      const lane = { records: ofStream, missing: 0, hasRefused: false };
      this.#lanes.set(stream, lane);
      this.#begin(lane);
    }
  }

  /**
   * The next part, made into an entry; `undefined`: none may be sent now, or `make` has no room for it.
   */
  next<Entry>(make: (part: LanePart) => Entry | undefined): SendingPart<Entry> | undefined {
    for (;;) {
      const part = this.#ready[0];
      if (part === undefined) return undefined;
      // Other parts of a record that was refused meanwhile.
      const isDue = this.#lanes.get(part.stream)?.records[0] === part.record;
      const entry = isDue ? make(part) : undefined;
      if (isDue && entry === undefined) return undefined;
      this.#ready.shift();
      if (entry !== undefined) return { part, entry };
    }
  }

  kept({ part, parts, record, stream }: LanePart): void {
    const lane = this.#lanes.get(stream);
    if (lane?.records[0] !== record) return;
    if (part < parts - 1) {
      lane.missing -= 1;
      if (lane.missing > 0) return;
      const last = splitRecord(record, this.#maxPartBytes).at(-1);
      if (last !== undefined) this.#ready.push({ ...last, record, group: stream });
      return;
    }
    if (!lane.hasRefused) this.#onKept(record);
    this.#endFirst(lane);
  }

  refuse({ record, stream }: LanePart, reason: string): void {
    const lane = this.#lanes.get(stream);
    if (lane?.records[0] === record) this.#refuseFirst(lane, record, reason);
  }

  #begin(lane: Lane): void {
    const [record] = lane.records;
    if (record === undefined) return;
    const problem = splitProblem(record, this.#maxPartBytes);
    if (problem !== undefined) {
      this.#refuseFirst(lane, record, problem);
      return;
    }
    const parts = splitRecord(record, this.#maxPartBytes);
    lane.missing = parts.length - 1;
    for (const part of parts.slice(0, Math.max(1, lane.missing)))
      this.#ready.push({ ...part, record, group: parts.length === 1 ? record.stream : idOf(part) });
  }

  #refuseFirst(lane: Lane, record: SinkRecord, reason: string): void {
    this.refused.push({ record, reason });
    lane.hasRefused = true;
    this.#endFirst(lane);
  }

  #endFirst(lane: Lane): void {
    lane.records.shift();
    this.#begin(lane);
  }
}
