import { SpillwayError } from '../errors.ts';
import type { SinkRecord } from '../sink-record.ts';

/** A record that an engine will never take. */
export interface RefusedRecord {
  /** The very object that was written. */
  readonly record: SinkRecord;
  /** Why, as the engine says it. Must not quote the record's value. */
  readonly reason: string;
}

/**
 * Some records of a write are none that the engine will ever take, such as one that breaks a rule of its schema. The others
 * of that write are kept. Written again, these would be refused again: whoever has them puts them elsewhere.
 */
export class RefusedRecords extends SpillwayError<'records_refused'> {
  /** Those that were refused, in the order in which they were written. At least one. */
  readonly refused: readonly RefusedRecord[];

  /** @param written what the write was given, if `refused` may be in another order. */
  constructor(refused: readonly RefusedRecord[], written?: readonly SinkRecord[]) {
    const places = new Map(written?.map((record, place) => [record, place]));
    const placeOf = ({ record }: RefusedRecord): number => places.get(record) ?? 0;
    const inOrder = refused.toSorted((one, other) => placeOf(one) - placeOf(other));
    const [first] = inOrder;
    const more = refused.length > 1 ? ` and ${refused.length - 1} more` : '';
    super(
      'records_refused',
      `The engine refuses record ${first?.record.seq} of the stream ${first?.record.stream}${more} for ever: ${first?.reason}`,
    );
    this.refused = inOrder;
  }
}
