import type { StallCause } from './meter.ts';

/** What happened to a stream. */
export interface StreamEvent {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly type:
    | 'ended'
    | 'first_token'
    | 'gap'
    | 'opened'
    | 'paused'
    | 'reader_joined'
    | 'reader_left'
    | 'reader_lost'
    | 'reader_resumed'
    | 'responded'
    | 'resumed'
    | 'retried';
  /** The number of the reader that it is about; `null`: the stream. */
  readonly reader: number | null;
  /** For people: a stall's cause, a reader's policy or end, an error's code. */
  readonly detail: string;
}

/** What is kept: the latest of it. */
export const maxJournalEntries = 200;
/** Stalls that follow one another faster than this are one to whoever reads it. */
const stallGapMs = 1000;

type Writable = { -readonly [Key in keyof StreamEvent]: StreamEvent[Key] };

/** A stream's story, for people: on its page, and as the events of its span. */
export class Journal {
  readonly entries: StreamEvent[] = [];
  /** By reader: the entry of what it lost, as long as nothing else has happened to it. */
  #gaps: Map<number, { readonly entry: Writable; tokens: number }> | undefined;

  add(type: StreamEvent['type'], reader: number | null = null, detail = ''): Writable {
    const entry = { atMs: Date.now(), type, reader, detail };
    this.entries.push(entry);
    if (this.entries.length > maxJournalEntries) this.entries.shift();
    if (reader !== null) this.#gaps?.delete(reader);
    return entry;
  }

  paused(reader: number | null, cause: StallCause): void {
    const last = this.entries.at(-1);
    const isSame = last?.type === 'resumed' && last.detail === cause && Date.now() - last.atMs < stallGapMs;
    if (isSame) this.entries.pop();
    else this.add('paused', reader, cause);
  }

  /** A reader that drops may drop with every chunk: that is one entry, which grows. */
  gap(reader: number, tokens: number, reason: string): void {
    const gaps = (this.#gaps ??= new Map());
    const known = gaps.get(reader);
    const gap = known ?? { entry: this.add('gap', reader), tokens: 0 };
    gap.tokens += tokens;
    gap.entry.detail = `${gap.tokens} (${reason})`;
    if (known === undefined) gaps.set(reader, gap);
  }
}
