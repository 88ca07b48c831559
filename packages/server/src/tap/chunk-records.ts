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
  /** So many places were replaced. */
  readonly onRedacted: (count: number) => void;
}

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
  /** What the runs of a body weigh that are kept back, and whether that was too much: nothing more of it is kept. */
  #heldWeight = 0;
  #isSpent = false;
  /** The bytes of the last record, or so far of a body that is no stream of events. */
  #bodyBytes = 0;

  /** `format`: that of the events; `undefined`: the body is no stream of events. */
  constructor(format: Format | undefined, isEvents: boolean, options: ChunkRecordOptions) {
    this.#options = options;
    this.#isEvents = isEvents;
    const { content, maxHeldBytes, redact, shed } = options;
    this.#filter = createContentFilter(format, {
      content,
      maxHeldBytes,
      ...(redact !== undefined && { redact }),
      ...(shed !== undefined && { shed }),
    });
  }

  /** The offset from which on something is kept back; `undefined`: nothing is. */
  get heldFrom(): number | undefined {
    return this.#starts[0];
  }

  /** The record of runs that end before the offset `to`. `isShedding`: parts are left out. */
  record(runs: readonly TakenRun[], to: number, isShedding: boolean): TapRecordBody {
    const filter = this.#filter;
    let events = 0;
    let merged = 0;
    for (const { run } of runs) {
      events += run.events;
      merged += run.mergedEvents ?? 0;
    }
    const range = {
      kind: 'chunks',
      from: runs[0]?.from ?? to,
      to,
      events,
      merged: merged || undefined,
    } as const;
    if (this.#isSpent) return { ...range, bytes: bytesIn(runs.map(({ run }) => run.bytes)) };
    if (filter === undefined) return { ...range, ...this.#content(runs.map(({ run }) => run.bytes)) };
    filter.isShedding = isShedding;
    const kept = runs.map((taken) => this.#filtered(filter, taken));
    if (!this.#isEvents && this.#heldTooMuch(runs)) kept.push(filter.flush());
    return { ...range, ...this.#kept(kept) };
  }

  /** What was kept back until the end, at `offset`; `undefined`: nothing was. */
  rest(offset: number): TapRecordBody | undefined {
    if (this.#filter === undefined || this.#isSpent) return undefined;
    const kept = this.#filter.flush();
    this.#starts.length = 0;
    const isEmpty = kept.bytes.length === 0 && kept.text === undefined && kept.omittedBytes === undefined;
    return isEmpty
      ? undefined
      : { kind: 'chunks', from: offset, to: offset, events: kept.events, ...this.#kept([kept]) };
  }

  /**
   * Whether so much of a body is kept back that whoever waits for it would make the provider wait. A body is read whole
   * to be redacted, its pieces may be small, and they cannot be merged.
   */
  #heldTooMuch(runs: readonly TakenRun[]): boolean {
    if (this.heldFrom === undefined) return false;
    for (const { run } of runs) this.#heldWeight += run.byteLength + frameOverheadBytes;
    this.#isSpent = this.#heldWeight > this.#options.maxHeldBytes;
    if (this.#isSpent) this.#starts.length = 0;
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

  #kept(all: readonly KeptContent[]): Content & { text?: Record<string, string>; shed?: string[] } {
    const bytes = all.map((kept) => kept.bytes).filter(({ length }) => length > 0);
    const text: Record<string, string> = {};
    const shed = new Set<string>();
    let redacted = 0;
    let omittedBytes = 0;
    for (const kept of all) {
      redacted += kept.redacted;
      omittedBytes += kept.omittedBytes ?? 0;
      for (const part of kept.shed) shed.add(part);
      for (const [place, said] of Object.entries(kept.text ?? {})) text[place] = (text[place] ?? '') + said;
    }
    if (redacted > 0) this.#options.onRedacted(redacted);
    return {
      ...(bytes.length > 0 && this.#content(bytes)),
      ...(omittedBytes > 0 && { bytes: omittedBytes }),
      ...(this.#options.content === 'text' && { text }),
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
