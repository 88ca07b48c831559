import { SpillwayError } from '../errors.ts';
import { CoalescedRun, maxParts, type Part } from './coalesced-run.ts';
import type { DeltaEvent } from './delta-event.ts';
import type { Hole } from './delta-rule.ts';
import type { FormatName } from './format.ts';
import type { EventRun } from './sse.ts';

/**
 * Encodes a run of events as bytes, to be kept outside of the process: by a store, in a file, in a log. The bytes of a
 * merged run include what merging knows of it. So {@link decodeRun} returns a run that can be merged further as this
 * one can. JSON is not looked at. A run as it came takes 6 to 8 bytes more than its events. A merged event takes 3 to 5
 * bytes more for each of its values that may differ.
 *
 * @param format the format of the events; `undefined` if it is not known.
 * @throws {SpillwayError} `invalid_option` for a format that does not exist.
 * @example
 * ```ts
 * for await (const run of channel.reader()) await file.append(encodeRun(run, 'openai-chat'));
 * ```
 */
export function encodeRun(run: EventRun, format: FormatName | undefined): Uint8Array<ArrayBuffer> {
  const code = formats.indexOf(format);
  if (code === -1)
    throw new SpillwayError('invalid_option', `format: expected one of ${knownFormats}, got ${format}.`);
  const writer = new RunWriter(version, code);
  const parts = run instanceof CoalescedRun ? run.parts : undefined;
  // 0 means that the run was not merged.
  writer.number(parts === undefined ? 0 : parts.length + 1);
  writer.number(run.events);
  writer.number(run.mergedEvents ?? 0);
  if (parts === undefined) writeBytes(writer, run.bytes);
  else for (const part of parts) writePart(writer, part);
  return writer.bytes();
}

/**
 * Decodes the bytes of {@link encodeRun}. The run has the same bytes on the wire and the same counts, and can be merged
 * as the encoded one. Its events are views on the bytes, which must not be changed afterwards.
 *
 * @param format the format that the run was encoded with.
 * @throws {SpillwayError} `unsupported_run` when the run was encoded by another version, or is of another format;
 *   `invalid_run` when the bytes are no encoded run, such as bytes that were cut short.
 * @example
 * ```ts
 * for await (const record of records) await channel.write(decodeRun(record, 'openai-chat'));
 * ```
 */
export function decodeRun(bytes: Uint8Array, format: FormatName | undefined): EventRun {
  if (bytes.length < headBytes) throw invalidRun(`expected ${headBytes} bytes or more, got ${bytes.length}`);
  const [itsVersion = 0, code = 0] = bytes;
  if (itsVersion !== version) {
    throw unsupported(`expected one of version ${version}, got version ${itsVersion}`);
  }
  if (code >= formats.length) throw unsupported(`expected one of ${knownFormats}, got format number ${code}`);
  if (formats[code] !== format) {
    throw unsupported(`expected one of the format ${format ?? 'none'}, got ${formats[code] ?? 'none'}`);
  }
  const reader = new RunReader(bytes, headBytes);
  const parts = reader.number() - 1;
  const events = reader.number();
  const mergedEvents = reader.number();
  if (parts < 0) {
    const own = reader.piece(reader.number());
    reader.end();
    return { bytes: own, byteLength: own.length, events, ...(mergedEvents > 0 && { mergedEvents }) };
  }
  if (parts > maxParts) throw invalidRun(`expected ${maxParts} parts or fewer, got ${parts}`);
  const plans: PartPlan[] = [];
  while (plans.length < parts) plans.push(readPlan(reader));
  const read = plans.map((plan) => readPart(reader, plan));
  reader.end();
  return new CoalescedRun(read, events, mergedEvents);
}

const version = 1;
/** The number of bytes for the version and the format. */
const headBytes = 2;
/** The index in this list is written to the bytes, so new formats are only added at the end. */
const formats: readonly (FormatName | undefined)[] = [
  undefined,
  'anthropic-messages',
  'gemini',
  'openai-chat',
  'openai-completions',
  'openai-responses',
  'conversation',
];
const knownFormats = formats.filter((name) => name !== undefined).join(', ');
/** The index in this list is written, too, in two bits. */
const kinds: readonly Hole['kind'][] = ['text', 'items', 'last'];
const kindBits = 3;
const keepsLastBit = 4;
const isNullBit = 8;
const hasGrownBit = 16;

/**
 * ```text
 * the head of a part:   holes   bytes                            holes = 0: its events are never merged
 *   of an event:        growing + 1
 *   of each hole:       flags   from the hole before   length   [length of what earlier events had in it]
 * ```
 * The bytes that the lengths count come after the heads of all parts, in the same order. In each event, the bytes that
 * earlier events had come last.
 */
function writePart(writer: RunWriter, part: Part): void {
  if (part instanceof Uint8Array) {
    writer.number(0);
    writeBytes(writer, part);
    return;
  }
  const { bytes, grown, growing, holes } = part;
  writer.number(holes.length);
  writeBytes(writer, bytes);
  writer.number(growing + 1);
  let at = 0;
  for (const [index, { end, isNull, keepsLast, kind, start }] of holes.entries()) {
    const before = grown[index];
    writer.number(
      kinds.indexOf(kind) +
        (keepsLast ? keepsLastBit : 0) +
        (isNull ? isNullBit : 0) +
        (before === undefined ? 0 : hasGrownBit),
    );
    writer.number(start - at);
    writer.number(end - start);
    at = end;
    if (before === undefined) continue;
    writeBytes(writer, before.store.bytes.subarray(0, before.length));
  }
}

function writeBytes(writer: RunWriter, bytes: Uint8Array): void {
  writer.number(bytes.length);
  writer.piece(bytes);
}

/** A part before its bytes were read. */
interface PartPlan {
  readonly length: number;
  readonly growing: number;
  /** Empty: the part's events are never merged. */
  readonly holes: readonly Hole[];
  /** For each hole, the number of bytes that earlier events had in it. */
  readonly grown: readonly number[];
}

function readPlan(reader: RunReader): PartPlan {
  const count = reader.number();
  const length = reader.number();
  const holes: Hole[] = [];
  const grown: number[] = [];
  if (count === 0) return { length, growing: -1, holes, grown };
  const growing = reader.number() - 1;
  let at = 0;
  while (holes.length < count) {
    const flags = reader.number();
    const kind = kinds[flags & kindBits];
    const start = at + reader.number();
    const end = start + reader.number();
    const before = (flags & hasGrownBit) === 0 ? 0 : reader.number();
    const isKnown = kind !== undefined && flags < 2 * hasGrownBit;
    if (!isKnown || end > length || before > 0 !== flags >= hasGrownBit || (kind === 'last' && before > 0))
      throw invalidRun(
        `expected a value inside of ${length} bytes, got one at ${start} to ${end}, flags ${flags}`,
      );
    const keepsLast = (flags & keepsLastBit) !== 0;
    holes.push({ kind, start, end, keepsLast, isNull: (flags & isNullBit) !== 0 });
    grown.push(before);
    at = end;
  }
  if (growing !== -1 && holes[growing]?.kind !== 'text')
    throw invalidRun(`expected the text of ${count} values that grows, got number ${growing}`);
  return { length, growing, holes, grown };
}

function readPart(reader: RunReader, { grown: lengths, growing, holes, length }: PartPlan): Part {
  const bytes = reader.piece(length);
  if (holes.length === 0) return bytes;
  let byteLength = length;
  const grown: DeltaEvent['grown'][number][] = [];
  for (const [index, { end, kind, start }] of holes.entries()) {
    const before = lengths[index] ?? 0;
    // The store is full, so text added later goes into a store of its own.
    grown.push(
      before === 0 ? undefined : { store: { bytes: reader.piece(before), used: before }, length: before },
    );
    byteLength += before;
    // A comma goes between the items of two events.
    if (before > 0 && kind === 'items' && end > start) byteLength += 1;
  }
  return { bytes, holes, grown, growing, keepsLast: holes.some(({ keepsLast }) => keepsLast), byteLength };
}

/**
 * Collects numbers, and the pieces of bytes that they describe. The numbers come first. All is joined once, at the end.
 */
class RunWriter {
  readonly #head: number[];
  readonly #pieces: Uint8Array[] = [];
  #byteLength = 0;

  constructor(...head: number[]) {
    this.#head = head;
  }

  /** Writes a number with seven bits a byte, the lowest first. The eighth bit says that more bytes follow. */
  number(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#head.push((rest % 0x80) + 0x80);
    this.#head.push(rest);
  }

  piece(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#byteLength += bytes.length;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#head.length + this.#byteLength);
    bytes.set(this.#head);
    let at = this.#head.length;
    for (const piece of this.#pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }
}

class RunReader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  number(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 0x80) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined)
        throw invalidRun(`cut short: expected a number at byte ${this.#at}, got the end`);
      this.#at += 1;
      value += (byte & 0x7f) * factor;
      if (value > Number.MAX_SAFE_INTEGER)
        throw invalidRun(`expected a number below 2^53 before byte ${this.#at}`);
      if (byte < 0x80) return value;
      // Without this check, a number could go on with zeros without end.
      if (factor > Number.MAX_SAFE_INTEGER)
        throw invalidRun(`expected a number below 2^53 before byte ${this.#at}`);
    }
  }

  /** Reads bytes, as a view. */
  piece(length: number): Uint8Array {
    const left = this.#bytes.length - this.#at;
    if (length > left)
      throw invalidRun(`cut short: expected ${length} bytes at byte ${this.#at}, got ${left}`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw invalidRun(`expected its end at byte ${this.#at}, got ${left} bytes more`);
  }
}

function invalidRun(what: string): SpillwayError {
  return new SpillwayError('invalid_run', `An encoded run: ${what}.`);
}

function unsupported(what: string): SpillwayError {
  return new SpillwayError('unsupported_run', `An encoded run: ${what}.`);
}
