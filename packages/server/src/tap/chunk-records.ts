import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import { frameOverheadBytes } from '@spillway/core/session';
import { createContentFilter } from './content/content-filter.ts';
import type { ContentFilter, KeptContent } from './content/kept-content.ts';
import type { RedactionRule } from './content/redaction-rule.ts';
import type { ShedPart } from './content/shed-parts.ts';
import { bytesIn, contentOf } from './content-of.ts';
import type { Content, TapRecordBody } from './tap-record.ts';

/** What is kept of an answer. */
export interface ChunkRecordOptions {
  /** `full`: the answer's bytes. `text`: only what was said. */
  readonly content: 'full' | 'text';
  /** What is replaced. Default: nothing. */
  readonly redact?: readonly RedactionRule[] | undefined;
  /** What is left out while the tap lags. Default: nothing. */
  readonly shed?: readonly ShedPart[] | undefined;
  /** The bytes of content in one record, and in all of a body that is no stream of events. */
  readonly maxRecordBytes: number;
  /** The bytes of a stream that may be kept back, because they may be the beginning of something to replace. */
  readonly maxHeldBytes: number;
  /** Whether readers wait for what is kept. */
  readonly gates: boolean;
  /** So many places were replaced. */
  readonly onRedacted: (count: number) => void;
}

/** What a record says of content, beside the size of what is left out. */
type Said = Content & { readonly text?: Record<string, string>; readonly shed?: string[] };

/** A run of chunks that was taken, with the offset of its beginning. */
export interface TakenRun {
  readonly run: EventRun;
  readonly from: number;
}

/** Makes records of the chunks of one answer, as far as the tap keeps them. */
export class ChunkRecords {
  readonly #options: ChunkRecordOptions;
  /** `undefined`: everything is kept as it is. */
  readonly #filter: ContentFilter | undefined;
  readonly #isEvents: boolean;
  /** The offsets of the runs from the first one on of which the filter keeps something back, and that one's number. */
  readonly #starts: number[] = [];
  #firstStart = 0;
  /** The runs of a body that are kept back, and whether they were too much: nothing of it is kept. */
  #heldRuns = 0;
  #heldBytes = 0;
  #isSpent = false;
  /** What no record has yet of the runs that were taken: they had nothing to keep. */
  #pending:
    | { readonly from: number; readonly events: number; readonly merged: number; readonly bytes: number }
    | undefined;
  /** The bytes of the last record, or so far of a body that is no stream of events. */
  #bodyBytes = 0;

  /** `format`: that of the events; `undefined`: the body is no stream of events. */
  constructor(format: Format | undefined, isEvents: boolean, options: ChunkRecordOptions) {
    this.#options = options;
    this.#isEvents = isEvents;
    const { content, gates, maxHeldBytes, maxRecordBytes, redact, shed } = options;
    this.#filter = createContentFilter(format, {
      content,
      maxHeldBytes,
      ...(gates && { passingBytes: maxRecordBytes }),
      ...(redact !== undefined && { redact }),
      ...(shed !== undefined && { shed }),
    });
  }

  /** The offset from which on something is kept back; `undefined`: nothing is. */
  get heldFrom(): number | undefined {
    return this.#starts[0];
  }

  /**
   * The record of runs that end before the offset `to`. `isShedding`: parts are left out. `undefined`: there is nothing to
   * say of them, and the next record stands for them, too.
   */
  record(runs: readonly TakenRun[], to: number, isShedding: boolean): TapRecordBody | undefined {
    const filter = this.#filter;
    const before = this.#pending;
    let events = before?.events ?? 0;
    let merged = before?.merged ?? 0;
    for (const { run } of runs) {
      events += run.events;
      merged += run.mergedEvents ?? 0;
    }
    const from = before?.from ?? runs[0]?.from ?? to;
    const bytes = runs.map(({ run }) => run.bytes);
    if (filter === undefined)
      return { kind: 'chunks', from, to, events, merged: merged || undefined, ...this.#content(bytes) };
    let said: Said = {};
    let omittedBytes = before?.bytes ?? 0;
    if (this.#isSpent) {
      omittedBytes += bytesIn(bytes);
    } else {
      filter.isShedding = isShedding;
      const kept = runs.map((taken) => this.#filtered(filter, taken));
      said = this.#kept(kept);
      omittedBytes += sizeOmitted(kept);
      // Where a body is cut, a match may be.
      if (filter.readsWhole && this.#heldTooMuch(runs)) omittedBytes += this.#heldBytes;
    }
    this.#pending = { from, events, merged, bytes: omittedBytes };
    // Readers get what comes before this offset, so it is written down even if nothing of it is kept.
    const opens = this.#options.gates && this.heldFrom === undefined;
    return opens || Object.keys(said).length > 0 ? this.#takePending(to, said) : undefined;
  }

  /** What no record has yet of the runs before the offset `to`; `undefined`: nothing. */
  pending(to: number): TapRecordBody | undefined {
    return this.#pending && this.#takePending(to, {});
  }

  /** What was kept back until the end, at `offset`; `undefined`: nothing was. */
  rest(offset: number): TapRecordBody | undefined {
    if (this.#filter === undefined || this.#isSpent) return this.pending(offset);
    const kept = this.#filter.flush();
    this.#starts.length = 0;
    const said = this.#kept([kept]);
    const { bytes = 0, events = 0, from = offset, merged = 0 } = this.#pending ?? {};
    const omittedBytes = bytes + sizeOmitted([kept]);
    if (this.#pending === undefined && omittedBytes === 0 && Object.keys(said).length === 0) return undefined;
    this.#pending = { from, events: events + kept.events, merged, bytes: omittedBytes };
    return this.#takePending(offset, said);
  }

  #takePending(to: number, said: Said): TapRecordBody {
    const { bytes = 0, events = 0, from = to, merged = 0 } = this.#pending ?? {};
    this.#pending = undefined;
    const leftOut = bytes + (said.bytes ?? 0);
    const omitted = leftOut === 0 ? {} : { bytes: leftOut };
    return { kind: 'chunks', from, to, events, merged: merged || undefined, ...said, ...omitted };
  }

  /**
   * Whether so much of a body is kept back that whoever waits for it would make the provider wait. A body is read whole
   * to be redacted, its pieces may be small, and they cannot be merged.
   */
  #heldTooMuch(runs: readonly TakenRun[]): boolean {
    if (this.heldFrom === undefined) return false;
    this.#heldRuns += runs.length;
    for (const { run } of runs) this.#heldBytes += run.byteLength;
    this.#isSpent = this.#heldBytes + this.#heldRuns * frameOverheadBytes > this.#options.maxHeldBytes;
    if (this.#isSpent) {
      this.#starts.length = 0;
      this.#filter?.flush();
    }
    return this.#isSpent;
  }

  #filtered(filter: ContentFilter, { from, run }: TakenRun): KeptContent {
    this.#starts.push(from);
    const kept = filter.take(run);
    const next = this.#firstStart + this.#starts.length;
    const passed = (filter.heldSince ?? next) - this.#firstStart;
    this.#starts.splice(0, passed);
    this.#firstStart += passed;
    return kept;
  }

  #kept(all: readonly KeptContent[]): Said {
    const bytes = all.map((kept) => kept.bytes).filter(({ length }) => length > 0);
    const text: Record<string, string> = {};
    const shed = new Set<string>();
    let redacted = 0;
    for (const kept of all) {
      redacted += kept.redacted;
      for (const part of kept.shed) shed.add(part);
      for (const [place, said] of Object.entries(kept.text ?? {})) text[place] = (text[place] ?? '') + said;
    }
    if (redacted > 0) this.#options.onRedacted(redacted);
    return {
      ...(bytes.length > 0 && this.#content(bytes)),
      ...(Object.keys(text).length > 0 && { text }),
      ...(redacted > 0 && { redacted }),
      ...(shed.size > 0 && { shed: [...shed] }),
    };
  }

  #content(parts: readonly Uint8Array[]): Content {
    const bytes = bytesIn(parts);
    this.#bodyBytes = this.#isEvents ? bytes : this.#bodyBytes + bytes;
    return contentOf(parts, this.#bodyBytes > this.#options.maxRecordBytes);
  }
}

function sizeOmitted(all: readonly KeptContent[]): number {
  return all.reduce((sum, { omittedBytes = 0 }) => sum + omittedBytes, 0);
}
