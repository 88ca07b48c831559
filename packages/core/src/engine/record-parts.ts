import { invalid } from '../invalid.ts';
import type { SinkRecord } from '../sink-record.ts';

/** A record, or a part of one that was too large for one entry of an engine. */
export interface RecordPart extends SinkRecord {
  /** The part's number: 0 to `parts` − 1. */
  readonly part: number;
  /** How many parts the record has. 1: it is whole. */
  readonly parts: number;
}

/** The most parts of a record. */
export const maxParts = 100_000;

/**
 * Why a record cannot be split into parts whose values have at most so many bytes; `undefined`: it can. A sink refuses such a
 * record for ever (`RefusedRecords`): {@link splitRecord} would throw.
 *
 * @param maxBytes 1 or more.
 */
export function splitProblem({ value }: SinkRecord, maxBytes: number): string | undefined {
  const most = maxParts * maxBytes;
  return value.byteLength > most
    ? `it has ${value.byteLength} bytes, and at most ${most} are taken: ${maxParts} parts of ${maxBytes}`
    : undefined;
}

/**
 * Splits a record into parts whose values have at most so many bytes. The values are views of the record's, not copies.
 * `stream`, `seq` and `part` together are the id of a part.
 *
 * @param maxBytes 1 or more.
 * @throws {SpillwayError} `invalid_option` for a record of more than {@link maxParts} parts.
 */
export function splitRecord(record: SinkRecord, maxBytes: number): readonly RecordPart[] {
  const { seq, stream, value } = record;
  const problem = splitProblem(record, maxBytes);
  if (problem !== undefined) throw invalid(`record ${seq} of ${stream}: ${problem}.`);
  const parts = Math.max(1, Math.ceil(value.byteLength / maxBytes));
  return Array.from({ length: parts }, (_, part) => ({
    stream,
    seq,
    part,
    parts,
    value: parts === 1 ? value : value.subarray(part * maxBytes, (part + 1) * maxBytes),
  }));
}

/** What a part came to. `Place` is what its source acknowledges it by. */
export type JoinedPart<Place> =
  /** The record is whole. `places`: of all its parts, and of those that came twice, in the order in which they came. */
  | { readonly kind: 'record'; readonly record: SinkRecord; readonly places: readonly Place[] }
  /** Other parts have to come first. */
  | { readonly kind: 'waiting' }
  /** The record was whole before. */
  | { readonly kind: 'known'; readonly place: Place };

/** Parts of a record whose others do not come. */
export interface LostParts<Place> {
  /** The stream of the record. */
  readonly stream: string;
  /** The record's number in it. */
  readonly seq: number;
  /** Of the parts that came, in the order in which they did. */
  readonly places: readonly Place[];
}

interface Joining<Place> {
  readonly stream: string;
  readonly seq: number;
  readonly values: (Uint8Array | undefined)[];
  readonly places: Place[];
  missing: number;
  bytes: number;
}

/** Bounds on what a joiner holds. */
export interface RecordJoinerOptions {
  /** The bytes of parts that wait for others: 1 or more. Default: 64 MiB. */
  readonly maxBytes?: number;
  /** The streams whose last whole record is remembered, to know records that come twice: 1 or more. Default: 10,000. */
  readonly maxStreams?: number;
}

/**
 * Puts records together from their parts, for a source. Parts of one record may come in any order and twice, and parts of
 * several records among each other. Records of one stream are whole in ascending order; one that is whole already is
 * `known`.
 *
 * Held bytes ≤ `maxBytes`, but for one record that is larger. Beyond it the parts that have waited longest are lost.
 */
export class RecordJoiner<Place> {
  readonly #maxBytes: number;
  readonly #maxStreams: number;
  /** The longest waiting first. */
  readonly #joining = new Map<string, Joining<Place>>();
  /** The number of the last whole record, by stream: the one that has not been used for longest first. */
  readonly #last = new Map<string, number>();
  readonly #lost: LostParts<Place>[] = [];
  #bytes = 0;

  constructor({ maxBytes = 67_108_864, maxStreams = 10_000 }: RecordJoinerOptions = {}) {
    this.#maxBytes = maxBytes;
    this.#maxStreams = maxStreams;
  }

  /** The bytes of parts that wait for others. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /**
   * Takes a part.
   *
   * @throws {SpillwayError} `invalid_option` for numbers that no part has.
   */
  add({ part, parts, seq, stream, value }: RecordPart, place: Place): JoinedPart<Place> {
    if (!isCount(parts, maxParts) || !Number.isSafeInteger(part) || part < 0 || part >= parts)
      throw invalid(`part: expected 0 to parts − 1 of 1 to ${maxParts} parts, got ${part} of ${parts}.`);
    const last = this.#last.get(stream);
    if (last !== undefined && seq <= last) return { kind: 'known', place };
    if (parts === 1) return this.#whole({ stream, seq, value }, [place]);
    const id = `${stream} ${seq}`;
    let joining = this.#joining.get(id);
    if (joining === undefined || joining.values.length !== parts) {
      if (joining !== undefined) this.#lose(joining);
      joining = { stream, seq, values: Array.from({ length: parts }), places: [], missing: parts, bytes: 0 };
      this.#joining.set(id, joining);
    }
    joining.places.push(place);
    if (joining.values[part] === undefined) {
      joining.values[part] = value;
      joining.missing -= 1;
      joining.bytes += value.byteLength;
      this.#bytes += value.byteLength;
    }
    if (joining.missing > 0) {
      for (const oldest of this.#joining.values()) {
        if (this.#bytes <= this.#maxBytes || oldest === joining) break;
        this.#lose(oldest);
      }
      return { kind: 'waiting' };
    }
    this.#forget(joining);
    const whole = new Uint8Array(joining.bytes);
    let at = 0;
    for (const piece of joining.values) {
      if (piece === undefined) continue;
      whole.set(piece, at);
      at += piece.byteLength;
    }
    return this.#whole({ stream, seq, value: whole }, joining.places);
  }

  /**
   * The records whose other parts do not come, since the last call: a later record of their stream is whole, there was no
   * room for them, or {@link dropOlder} said so.
   */
  takeLost(): readonly LostParts<Place>[] {
    return this.#lost.splice(0);
  }

  /** What `isOlder` says yes to waits in vain: the engine has removed the rest of it. */
  dropOlder(isOlder: (place: Place) => boolean): void {
    for (const joining of this.#joining.values()) {
      if (joining.places.some(isOlder)) this.#lose(joining);
    }
  }

  #whole(record: SinkRecord, places: readonly Place[]): JoinedPart<Place> {
    const { seq, stream } = record;
    for (const joining of this.#joining.values()) {
      if (joining.stream === stream && joining.seq < seq) this.#lose(joining);
    }
    this.#last.delete(stream);
    this.#last.set(stream, seq);
    for (const oldest of this.#last.keys()) {
      if (this.#last.size <= this.#maxStreams) break;
      this.#last.delete(oldest);
    }
    return { kind: 'record', record, places };
  }

  #lose(joining: Joining<Place>): void {
    const { places, seq, stream } = joining;
    this.#forget(joining);
    this.#lost.push({ stream, seq, places });
  }

  #forget(joining: Joining<Place>): void {
    this.#joining.delete(`${joining.stream} ${joining.seq}`);
    this.#bytes -= joining.bytes;
  }
}

function isCount(value: number, most: number): boolean {
  return Number.isSafeInteger(value) && value >= 1 && value <= most;
}
