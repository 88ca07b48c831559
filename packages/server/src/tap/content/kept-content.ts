import type { EventRun } from '@spillway/core/format/sse';
import type { RedactionRule } from './redaction-rule.ts';
import type { ShedPart } from './shed-parts.ts';

/** What may be kept now. */
export interface KeptContent {
  /** Whole events, or a part of a body. Empty with `content: 'text'`. */
  readonly bytes: Uint8Array;
  /** The number of events with data in `bytes`. */
  readonly events: number;
  /** With `content: 'text'`: what was said, by its place in the events, such as `choices.0.content`. */
  readonly text?: Readonly<Record<string, string>>;
  /** Places that were replaced. */
  readonly redacted: number;
  /** Parts that were there and are left out. */
  readonly shed: readonly ShedPart[];
  /**
   * Bytes of a body of which nothing is kept: it has more than `maxHeldBytes`, or it cannot be redacted or read. There
   * must be no digest of it where there is redaction: who knows the rest of it could try what was left out.
   */
  readonly omittedBytes?: number;
}

/** What a tap keeps of one stream. */
export interface ContentFilter {
  /** Whether the parts in `shed` are left out from now on. Default: false. Bodies that are no events are not shed. */
  isShedding: boolean;
  /** Whether nothing is kept before the end, because what comes is read as a whole. */
  readonly readsWhole: boolean;
  /**
   * The number of the oldest run (0: the first one that was taken) of which something is held back; `undefined`: nothing
   * is. What a crash would lose begins there.
   */
  readonly heldSince: number | undefined;
  /** Takes the next run: whole events, or bytes of the body. Returns what may be kept of this and of earlier runs. */
  take(run: EventRun): KeptContent;
  /** Returns what was held back. Called once, at the end of the stream, however it ended. */
  flush(): KeptContent;
}

/** What a filter is for. */
export interface ContentOptions {
  /** `full`: the provider's own events or body. `text`: only what was said. */
  readonly content: 'full' | 'text';
  /** The rules of what is replaced. Default: none. */
  readonly redact?: readonly RedactionRule[];
  /** The parts that are left out while `isShedding`. Default: none. */
  readonly shed?: readonly ShedPart[];
  /**
   * The bytes that may be held back of one stream, at least 4,096. Where more would be, the text that is open for longest
   * is taken for whole. Of a body that is larger nothing is kept.
   */
  readonly maxHeldBytes: number;
  /**
   * The bytes of a body that are kept where readers wait for it: with `full`, it is then redacted as it comes. Default: it
   * is read as a whole, at its end.
   */
  readonly passingBytes?: number | undefined;
}
