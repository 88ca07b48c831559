import { SpillwayError } from '../errors.ts';
import { Choices } from './choices.ts';
import {
  findLineEnd,
  isDataField,
  isWholePayload,
  joinDataLines,
  maxJoinedBytes,
  valueStart,
} from './data-lines.ts';

/**
 * Server-Sent Events as bytes: finds where events end, and shows their data to a wire format. The rules are those of
 * the WHATWG HTML standard, "Parsing an event stream"
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream): a line ends with CR, LF or
 * CRLF; an empty line ends an event; a line that starts with a colon is a comment. One BOM at the start is skipped. An
 * event that is cut by the end of the stream is not dispatched.
 */

/**
 * The meaning of an event's payload. `end`: the provider's own end marker. `error`: an error event. `complaint`: words
 * that are an error if no part of the reply follows. `content`: anything else.
 */
export type PayloadKind = 'complaint' | 'content' | 'end' | 'error';

/**
 * Classifies the payload in `bytes[start, end)`. Called once for each event with data. The lines of an event with
 * several `data:` lines are joined by LF, in bytes that are overwritten afterwards. The function adds the payload's
 * choices to `choices`, with those that are over.
 */
export type ClassifyPayload = (
  bytes: Uint8Array,
  start: number,
  end: number,
  choices: Choices,
) => PayloadKind;

/** Whole events that arrived together: the unit that travels through the gateway. */
export interface EventRun {
  /** The provider's own bytes, from the start of one event to the end of another or the same. Not a copy. */
  readonly bytes: Uint8Array;
  /** The number of bytes in `bytes`, without having to join them. */
  readonly byteLength: number;
  /** The number of events with data; 0 for comments alone. */
  readonly events: number;
  /** The number of events that were merged into others. Default: 0. */
  readonly mergedEvents?: number;
}

/** The bound of an {@link EventScanner}, and its function for payloads. */
export interface EventScannerOptions {
  /**
   * The largest event, in bytes, with its line ends. A CR at its end counts as the CRLF that it may become. Minimum 1,
   * default 1 MiB (1,048,576). For a larger event `push` throws `event_too_large`, after the complete events before it
   * were handed on. At most this many bytes are held while an event is incomplete.
   */
  readonly maxEventBytes?: number;
  /** Tells the kind of a payload. Default: every payload is content. */
  readonly classify?: ClassifyPayload | undefined;
}

/**
 * Finds whole events in bytes, wherever the chunks were cut: also inside a UTF-8 sequence, between CR and LF, or inside
 * a BOM. Complete events are handed on at once and without a copy. Only an event that two chunks share is copied.
 *
 * After the provider's end marker every further byte is ignored.
 *
 * One file, because its state between two reads is one: where in an event, in a line and in a line end a read has ended.
 *
 * @example
 * ```ts
 * const scanner = new EventScanner({ classify: openaiChat.classify });
 * for await (const chunk of response.body ?? []) scanner.push(chunk, (run) => channel.offer(run));
 * scanner.end((run) => channel.offer(run));
 * if (!scanner.hasEnded) throw new Error('the stream was cut');
 * ```
 */
export class EventScanner {
  readonly #maxEventBytes: number;
  readonly #classify: ClassifyPayload | undefined;
  /** The bytes of the incomplete event: `#partial[0, #partialLength)`. */
  #partial: Uint8Array<ArrayBuffer> = empty;
  #partialLength = 0;
  /** Where the incomplete line begins in `#partial`. */
  #partialLine = 0;
  /** Whether the last byte was a CR that ended a line. An LF right after it belongs to the same line end. */
  #afterCr = false;
  #atStart = true;
  #eventHasField = false;
  #dataLines = 0;
  /** The range of the last data value, counted from the start of the present event. */
  #valueStart = 0;
  #valueEnd = 0;
  #hasEnded = false;
  readonly #choices = new Choices();
  #hasFailed = false;
  #hasComplained = false;
  /** A copy of the data of the first error event, or of the last complaint before it. */
  #errorData: Uint8Array | undefined;
  /** Whether the present event is named `error`. Its data then does not matter. */
  #isNamedError = false;

  constructor(options: EventScannerOptions = {}) {
    const { maxEventBytes = 1_048_576, classify } = options;
    if (!(maxEventBytes >= 1)) throw atLeastOne('maxEventBytes', maxEventBytes);
    this.#maxEventBytes = maxEventBytes;
    this.#classify = classify;
  }

  /** The number of bytes held of the incomplete event. */
  get partialBytes(): number {
    return this.#partialLength;
  }

  /** Whether the provider's end marker was seen. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Whether the stream may end here without a marker: each choice that came has said why it ended. After `end`,
   * also: no event was cut after that.
   */
  get hasFinished(): boolean {
    return this.#choices.areOver;
  }

  /** Whether the provider sent an error event, or its last event was a complaint. */
  get hasFailed(): boolean {
    return this.#hasFailed || this.#hasComplained;
  }

  /**
   * What the provider said when it failed: the data of its first error event, or of its complaint. A copy. `undefined`: it has
   * not failed, or that is larger than 16 KiB.
   */
  get errorData(): Uint8Array | undefined {
    return this.hasFailed ? this.#errorData : undefined;
  }

  /**
   * Takes the next bytes and hands on the complete events as runs: one run, or two where an event that began in an
   * earlier chunk ends in this one. More runs come where one would have more than `maxRunBytes` (minimum 1, default no
   * bound); a single event may be larger. The bytes must not be changed afterwards. An event that two chunks share is a
   * copy, which belongs to the caller alone.
   *
   * @throws {SpillwayError} `event_too_large`; `invalid_option`
   */
  push(chunk: Uint8Array, emit: (run: EventRun) => void, maxRunBytes = Infinity): void {
    if (!(maxRunBytes >= 1)) throw atLeastOne('maxRunBytes', maxRunBytes);
    if (this.#hasEnded || chunk.length === 0) return;
    let rest = chunk;
    if (this.#atStart) {
      const withoutBom = this.#skipBom(rest);
      if (withoutBom === undefined) return;
      rest = withoutBom;
    }
    if (this.#partialLength > 0) {
      const used = this.#completePartial(rest, emit);
      if (used === rest.length || this.#hasEnded) return;
      rest = rest.subarray(used);
    }
    this.#scan(rest, emit, maxRunBytes);
  }

  /**
   * Ends the bytes. An end marker or an error that lacks only its blank line is completed and handed on. Any other
   * incomplete event is dropped, as the standard says.
   */
  end(emit: (run: EventRun) => void): void {
    if (this.#hasEnded || this.#partialLength === 0) return;
    if (this.#partialLine < this.#partialLength)
      this.#line(this.#partial, this.#partialLine, this.#partialLength, 0);
    const kind = this.#kindOf(this.#partial, 0, this.#partialLength);
    const isLast = this.#isNamedError || kind !== 'content';
    if (!isLast || !isWholePayload(this.#payload(this.#partial, 0, this.#partialLength))) {
      // A cut event shows that more was to come, even where the stream could have ended before it. A cut comment does
      // not.
      if (this.#eventHasField) this.#choices.lose();
      return;
    }
    this.#endEvent(kind);
    const bytes = new Uint8Array(this.#partialLength + 2).fill(LF);
    bytes.set(this.#partial.subarray(0, this.#partialLength));
    emit({ bytes, byteLength: bytes.length, events: 1 });
  }

  /** Scans a chunk that starts with a new event. Keeps the bytes of an incomplete last event. */
  #scan(chunk: Uint8Array, emit: (run: EventRun) => void, maxRunBytes: number): void {
    let line = 0;
    let eventStart = 0;
    let events = 0;
    let isAfterCr = this.#afterCr;
    this.#afterCr = false;
    if (isAfterCr && chunk[0] === LF) {
      // The second half of a CRLF. A client that does not know a CR alone shows the event only after this byte.
      emit({ bytes: chunk.subarray(0, 1), byteLength: 1, events: 0 });
      line = 1;
      eventStart = 1;
    }
    let runStart = eventStart;
    const hasCr = chunk.includes(CR);
    while (!this.#hasEnded) {
      // Most events are a data line and an empty line. The empty line is found without a search.
      const isEmpty = chunk[line] === LF;
      const lineEnd = isEmpty ? line : hasCr ? findLineEnd(chunk, line) : chunk.indexOf(LF, line);
      if (lineEnd === -1) break;
      let next = lineEnd + 1;
      isAfterCr = hasCr && chunk[lineEnd] === CR;
      if (isAfterCr && chunk[next] === LF) {
        next += 1;
        isAfterCr = false;
      }
      if (lineEnd > line) {
        this.#line(chunk, line, lineEnd, eventStart);
      } else {
        const eventBytes = lineEnd - eventStart + (hasCr && chunk[lineEnd] === CR ? 2 : 1);
        const isTooLarge = eventBytes > this.#maxEventBytes;
        if ((isTooLarge || next - runStart > maxRunBytes) && eventStart > runStart) {
          emit({ bytes: chunk.subarray(runStart, eventStart), byteLength: eventStart - runStart, events });
          runStart = eventStart;
          events = 0;
        }
        if (isTooLarge) throw this.#tooLarge(eventBytes);
        events += this.#endEvent(this.#kindOf(chunk, eventStart, lineEnd));
        eventStart = next;
      }
      line = next;
    }
    if (eventStart > runStart) {
      const isWhole = runStart === 0 && eventStart === chunk.length;
      const bytes = isWhole ? chunk : chunk.subarray(runStart, eventStart);
      emit({ bytes, byteLength: bytes.length, events });
    }
    if (this.#hasEnded) return;
    this.#afterCr = isAfterCr && line === chunk.length;
    if (eventStart < chunk.length) {
      this.#partialLine = line - eventStart;
      this.#append(chunk.subarray(eventStart));
    }
  }

  /** Completes the event that an earlier chunk began, line by line. Returns the number of bytes used from the chunk. */
  #completePartial(chunk: Uint8Array, emit: (run: EventRun) => void): number {
    let used = 0;
    if (this.#afterCr) {
      this.#afterCr = false;
      if (chunk[0] === LF) {
        used = 1;
        this.#append(chunk.subarray(0, 1));
        this.#partialLine = this.#partialLength;
      }
    }
    while (used < chunk.length) {
      const lineEnd = findLineEnd(chunk, used);
      if (lineEnd === -1) {
        this.#append(chunk.subarray(used));
        return chunk.length;
      }
      let next = lineEnd + 1;
      if (chunk[lineEnd] === CR) {
        if (chunk[next] === LF) next += 1;
        else this.#afterCr = next === chunk.length;
      }
      const lineLength = this.#partialLength - this.#partialLine + lineEnd - used;
      const isBareCr = chunk[lineEnd] === CR && next === lineEnd + 1;
      this.#append(chunk.subarray(used, next), lineLength === 0 && isBareCr ? 1 : 0);
      used = next;
      if (lineLength === 0) {
        const kind = this.#kindOf(this.#partial, 0, this.#partialLine);
        // An array that grew by doubling may be half empty, and a run may wait for long.
        const isTight = this.#partialLength === this.#partial.length;
        const bytes = isTight ? this.#partial : resized(this.#partial, this.#partialLength);
        this.#partial = empty;
        this.#partialLength = 0;
        this.#partialLine = 0;
        emit({ bytes, byteLength: bytes.length, events: this.#endEvent(kind) });
        return used;
      }
      this.#line(this.#partial, this.#partialLine, this.#partialLine + lineLength, 0);
      this.#partialLine = this.#partialLength;
    }
    return used;
  }

  /** Notes a line that is not empty. */
  #line(bytes: Uint8Array, start: number, end: number, eventStart: number): void {
    if (bytes[start] === COLON) return;
    this.#eventHasField = true;
    if (!isDataField(bytes, start, end)) {
      if (bytes[start] === ERROR_EVENT[0] && isErrorName(bytes, start, end)) this.#isNamedError = true;
      return;
    }
    this.#dataLines += 1;
    this.#valueStart = valueStart(bytes, start, end) - eventStart;
    this.#valueEnd = end - eventStart;
  }

  /** The kind of the event whose lines are `bytes[start, end)`. */
  #kindOf(bytes: Uint8Array, start: number, end: number): PayloadKind {
    if (this.#classify === undefined || this.#dataLines === 0) return 'content';
    // Nearly every event has one data line: this path allocates no object.
    if (this.#dataLines === 1) {
      const kind = this.#classify(bytes, start + this.#valueStart, start + this.#valueEnd, this.#choices);
      if (kind !== 'content' || this.#isNamedError) this.#noteError(kind, this.#payload(bytes, start, end));
      return kind;
    }
    const payload = this.#payload(bytes, start, end);
    if (payload !== undefined) {
      const kind = this.#classify(payload, 0, payload.length, this.#choices);
      this.#noteError(kind, payload);
      return kind;
    }
    // Anything may be in it.
    this.#choices.lose();
    return 'content';
  }

  /** Keeps what an error event, or a complaint, says. */
  #noteError(kind: PayloadKind, payload: Uint8Array | undefined): void {
    const isError = kind === 'error' || kind === 'complaint' || this.#isNamedError;
    if (!isError || this.#hasFailed) return;
    const isSmall = payload !== undefined && payload.length <= maxErrorBytes;
    this.#errorData = isSmall ? payload.slice() : undefined;
  }

  /** The data of the event; `undefined` if it has none, or too many bytes in several lines. */
  #payload(bytes: Uint8Array, start: number, end: number): Uint8Array | undefined {
    if (this.#dataLines === 0) return undefined;
    if (this.#dataLines === 1) return bytes.subarray(start + this.#valueStart, start + this.#valueEnd);
    return end - start <= maxJoinedBytes ? joinDataLines(bytes, start, end) : undefined;
  }

  /** Ends the present event at an empty line. Returns 1 if the event had data, otherwise 0. */
  #endEvent(kind: PayloadKind): 0 | 1 {
    if (!this.#eventHasField) return 0;
    const hasData = this.#dataLines > 0;
    if (hasData) {
      if (kind === 'end') this.#hasEnded = true;
      if (kind === 'error' || this.#isNamedError) this.#hasFailed = true;
      this.#hasComplained = kind === 'complaint';
    }
    this.#isNamedError = false;
    this.#eventHasField = false;
    this.#dataLines = 0;
    return hasData ? 1 : 0;
  }

  /**
   * Adds bytes to the incomplete event. The array doubles, so that an event in many small chunks costs linear time.
   *
   * @param more bytes that count against the bound and are not added.
   */
  #append(bytes: Uint8Array, more = 0): void {
    const length = this.#partialLength + bytes.length;
    if (length + more > this.#maxEventBytes) throw this.#tooLarge(length + more);
    if (length > this.#partial.length) {
      const size = Math.max(length, Math.min(this.#partial.length * 2, this.#maxEventBytes));
      this.#partial = this.#partial === empty ? new Uint8Array(size) : resized(this.#partial, size);
    }
    this.#partial.set(bytes, this.#partialLength);
    this.#partialLength = length;
  }

  /**
   * Skips a BOM at the start of the stream. After a keep-alive comment of the gateway, a BOM would become part of the
   * first field's name. Returns `undefined` while the bytes may still become a BOM.
   */
  #skipBom(chunk: Uint8Array): Uint8Array | undefined {
    let bytes = chunk;
    if (this.#partialLength > 0) {
      bytes = new Uint8Array(this.#partialLength + chunk.length);
      bytes.set(this.#partial.subarray(0, this.#partialLength));
      bytes.set(chunk, this.#partialLength);
      this.#partialLength = 0;
    }
    const looksLikeBom = BOM.every((byte, index) => index >= bytes.length || bytes[index] === byte);
    if (looksLikeBom && bytes.length < BOM.length) {
      // These bytes are no part of an event yet, so they do not count against the bound.
      this.#append(bytes, -bytes.length);
      return undefined;
    }
    this.#atStart = false;
    return looksLikeBom ? bytes.subarray(BOM.length) : bytes;
  }

  #tooLarge(bytes: number): SpillwayError {
    return new SpillwayError(
      'event_too_large',
      `An event has at least ${bytes} bytes, the limit is ${this.#maxEventBytes} (maxEventBytes).`,
    );
  }
}

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;
const BOM = [0xef, 0xbb, 0xbf] as const;
const ERROR_EVENT = new TextEncoder().encode('event:error');
const empty = new Uint8Array(0);
/** What a provider says of an error is short. */
const maxErrorBytes = 16_384;

function atLeastOne(name: string, value: number): SpillwayError {
  return new SpillwayError('invalid_option', `${name}: expected 1 or more bytes, got ${value}.`);
}

/**
 * Smaller arrays are copied, because that costs less. If they were moved, 300 streams that grow at once would take 20
 * MB more.
 */
const minMovedBytes = 16_384;

/**
 * Returns the bytes in an array of another size. A large array is moved: its old memory is free at once, without the
 * garbage collector.
 */
function resized(bytes: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  if (length >= minMovedBytes) return new Uint8Array(bytes.buffer.transfer(length));
  if (length < bytes.length) return bytes.slice(0, length);
  const grown = new Uint8Array(length);
  grown.set(bytes);
  return grown;
}

/** Whether a line is `event: error` or `event:error`. */
function isErrorName(bytes: Uint8Array, start: number, end: number): boolean {
  const spaces = bytes[start + 6] === SPACE ? 1 : 0;
  if (end - start !== ERROR_EVENT.length + spaces) return false;
  return ERROR_EVENT.every((byte, index) => bytes[start + index + (index < 6 ? 0 : spaces)] === byte);
}
