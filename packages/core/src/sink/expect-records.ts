import { invalid } from '../invalid.ts';
import type { SinkRecord } from '../sink-record.ts';

const streamForm = /^[\w-]{1,128}$/;

/**
 * Checks that records are as {@link SinkRecord} says. A sink does so before it writes anything: engines take other ids, and
 * a source would give such a record as another program's, or never; and of a value that is none, such as a string, nothing would
 * be kept.
 *
 * @throws {SpillwayError} `invalid_option` for the first record of which `stream` is not 1 to 128 characters of
 * `A-Z a-z 0-9 _ -`, `seq` no whole number from 0 to 2^53 − 1, or `value` no `Uint8Array`.
 * @example
 *   write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
 *     return this.#turn.write(signal, async () => {
 *       expectRecords(records);
 *       await this.#send(records, signal);
 *     });
 *   }
 */
export function expectRecords(records: readonly SinkRecord[]): void {
  for (const { seq, stream, value } of records) {
    if (typeof stream !== 'string' || !streamForm.test(stream))
      throw invalid(
        `stream of a record: expected 1 to 128 characters of A-Z a-z 0-9 _ -, got ${shown(stream)}. Write such an id in another way, as by encoding it (base64url).`,
      );
    if (!Number.isSafeInteger(seq) || seq < 0)
      throw invalid(
        `seq of a record of stream ${stream}: expected a whole number from 0 to ${Number.MAX_SAFE_INTEGER}, got ${String(seq)}. Number the records of a stream 0, 1, 2, …`,
      );
    if (kindOf(value) !== 'Uint8Array')
      throw invalid(
        `value of record ${seq} of stream ${stream}: expected a Uint8Array, such as a Buffer, got ${kindOf(value)}. Encode it, as by Buffer.from(JSON.stringify(it)).`,
      );
  }
}

/** What it is, also from another realm, and never what is in it. */
function kindOf(value: unknown): string {
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  return kind === 'Uint8Array' && !ArrayBuffer.isView(value) ? 'an imitation' : kind;
}

function shown(stream: unknown): string {
  if (typeof stream !== 'string') return `a ${typeof stream}`;
  return stream.length > 128 ? `${stream.length} characters` : JSON.stringify(stream);
}
