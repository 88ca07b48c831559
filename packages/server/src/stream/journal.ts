import type { ServerClock } from '../time/server-clock.ts';
import type { StallCause } from './meter.ts';

/** One entry of a stream's journal. */
export interface StreamEvent {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly type:
    | 'ended'
    | 'fell_back'
    | 'first_token'
    | 'gap'
    | 'gave_way'
    | 'opened'
    | 'paused'
    | 'reader_joined'
    | 'reader_left'
    | 'reader_lost'
    | 'reader_resumed'
    | 'responded'
    | 'resumed'
    | 'retried';
  /** The number of the reader that the entry is about; `null`: the stream. */
  readonly reader: number | null;
  /** For people: a stall's cause, a reader's policy or end, an error's code. */
  readonly detail: string;
}

/** A journal keeps this many entries, the latest. */
export const maxJournalEntries = 200;
/** A stall that follows one of the same cause within this time counts as the same stall. */
const stallGapMs = 1000;

type Writable = { -readonly [Key in keyof StreamEvent]: StreamEvent[Key] };

/** A stream's story, for people: the console shows it, and its span has it as events. */
export class Journal {
  readonly entries: StreamEvent[] = [];
  readonly #clock: Pick<ServerClock, 'dateMs'>;
  /** By reader: the latest `gap` entry, while no other entry of that reader has followed. */
  #gaps: Map<number, { readonly entry: Writable; tokens: number }> | undefined;

  constructor(clock: Pick<ServerClock, 'dateMs'>) {
    this.#clock = clock;
  }

  add(type: StreamEvent['type'], reader: number | null = null, detail = ''): Writable {
    const entry = { atMs: this.#clock.dateMs(), type, reader, detail };
    this.entries.push(entry);
    if (this.entries.length > maxJournalEntries) this.entries.shift();
    if (reader !== null) this.#gaps?.delete(reader);
    return entry;
  }

  paused(reader: number | null, cause: StallCause): void {
    const last = this.entries.at(-1);
    const isSame =
      last?.type === 'resumed' && last.detail === cause && this.#clock.dateMs() - last.atMs < stallGapMs;
    if (isSame) this.entries.pop();
    else this.add('paused', reader, cause);
  }

  /** Adds to the reader's `gap` entry. A reader may drop a chunk with every new one, so these share one entry. */
  gap(reader: number, tokens: number, reason: string): void {
    const gaps = (this.#gaps ??= new Map());
    const known = gaps.get(reader);
    const gap = known ?? { entry: this.add('gap', reader), tokens: 0 };
    gap.tokens += tokens;
    gap.entry.detail = `${gap.tokens} (${reason})`;
    if (known === undefined) gaps.set(reader, gap);
  }
}
