import type { Credit } from '../credit/credit.ts';
import type { TakeLimits } from './bounds.ts';
import type { Gap } from './gap.ts';
import type { Gate } from './gate.ts';
import type { LosslessOverflow, Overflow } from './overflow.ts';
import type { SpillPolicy } from './spill-policy.ts';

/** `high`: much waits for a reader. `low`: little waits again. */
export type Pressure = 'high' | 'low';

/** The start, the bounds and the callbacks of a reader. */
export interface ReaderOptions<T> {
  /** What happens when this reader is full; also `spillTo(store)`. Default: `block`. */
  readonly overflow?: Overflow | SpillPolicy<T>;
  /**
   * Whether chunks that wait for this reader may be merged to make room, before its policy is carried out. Needs the
   * channel's `merge`. Default: only with `coalesce`, which also merges chunks that are taken late. Not with `spillTo`:
   * a store gets the chunks as written.
   */
  readonly merges?: boolean;
  /**
   * The bytes that may wait for this reader, as the channel's `weigh` counts them. Minimum 1, default the channel's
   * `maxBytes`. A chunk that is larger than the bound is still taken when nothing else waits, or it could never pass.
   * Such a chunk does not count: the chunks after it have the whole bound.
   */
  readonly maxBytes?: number;
  /** The chunks that may wait for this reader. A whole number, 1 or more; default the channel's `maxItems`. */
  readonly maxItems?: number;
  /**
   * The milliseconds that may wait for this reader, as the channel's `durationMs` counts them. Minimum 1,
   * default the channel's `maxMs`.
   */
  readonly maxMs?: number;
  /**
   * The chunk where the reader starts. `start`: the oldest chunk that the channel still has. `now`: the next chunk that
   * is written. A number: the chunk with that offset, if the channel still has it as one chunk; otherwise
   * `history_gone`. Default: `start`.
   */
  readonly from?: number | 'now' | 'start';
  /**
   * The credit windows of this reader. Every window has to allow a chunk, and the chunk spends from each. Gaps, ends
   * and errors need no credit. Default: no limit.
   */
  readonly credit?: readonly Credit[];
  /**
   * The gates of this reader. Every gate has to be open beyond a chunk before the reader takes that chunk, and open to
   * `Infinity` before the reader sees the end; a cancel is seen at once. Gaps need no gate. Default: none.
   */
  readonly gates?: readonly Gate[];
  /**
   * Called once with each chunk that this reader loses, by its policy or by {@link Reader.skip}, in order. `onGap` is
   * called after these chunks. The chunk's offsets are [from, to), several where chunks were merged. With `drop-newest`
   * the chunk is the one that came. Not called for skipped chunks that are only in a store: their gap reports them.
   * Chunks that still wait when a reader ends, in whatever way, count as not dropped. Costs nothing when it is left
   * out. The callback may do anything, and a throw fails the reader, as with `onGap`.
   *
   * @example
   * ```ts
   * let unseenTokens = 0;
   * channel.reader({ overflow: 'drop-oldest', onDrop: (event) => (unseenTokens += event.tokens) });
   * ```
   */
  readonly onDrop?: (chunk: T, from: number, to: number) => void;
  /**
   * Called when a chunk waits that credit does not allow, once until credit is granted. The granting side may wait too,
   * without knowing of the chunk (QUIC's `STREAM_DATA_BLOCKED`, RFC 9000, 4.1). Called while code waits in `ready` or
   * `whenReady`, also in the middle of a write, so the callback should only pass the news on. A throw fails the reader,
   * as with `onGap`.
   */
  readonly onCreditBlocked?: () => void;
  /**
   * Called for every loss when it happens; the reader itself receives the gap in order. The callback may do anything,
   * also end the channel. A throw fails the reader, whose callbacks are then not called any more; the channel and other
   * readers go on.
   */
  readonly onGap?: (gap: Gap) => void;
  /**
   * Called with `high` when more than `highWatermark` of a bound waits, then with `low` when at most `lowWatermark` of
   * every bound waits, then `high` again: never the same twice. Checked when a chunk is written, and, after `high`,
   * when one is taken. Costs nothing when it is left out. A throw fails the reader, as with `onGap`.
   */
  readonly onPressure?: (pressure: Pressure) => void;
  /** A part of the bounds, from `lowWatermark` to 1. Default 0.75. */
  readonly highWatermark?: number;
  /** A part of the bounds, from 0 to `highWatermark`. Default 0.25. */
  readonly lowWatermark?: number;
}

/** Options for a reader that never loses a chunk, unless it is ended. */
export interface LosslessReaderOptions<T> extends ReaderOptions<T> {
  /** What happens when the reader falls behind: nothing is lost. Default: `block`. */
  readonly overflow?: LosslessOverflow | SpillPolicy<T>;
}

/**
 * How a reader's stream ended: with the channel (`completed`, `failed`, `cut`, `cancelled`), by its own overflow policy
 * (`failed`, or `disconnected` with the offset from which it can come back), by a callback of its own that threw
 * (`failed`), or because it was detached (`detached`). Of `cut` and `cancelled`, which both end a stream on purpose, only
 * `cancelled` discards what waits.
 */
export type ReaderEnd =
  | { readonly state: 'cancelled' | 'cut' | 'failed'; readonly error: Error }
  | { readonly state: 'completed' }
  | { readonly state: 'detached' }
  | { readonly state: 'disconnected'; readonly offset: number };

/**
 * A cursor on a channel's chunks. Each reader has its own bounds and its own overflow policy; the chunks are shared
 * with all other readers.
 *
 * Read in the way that fits: `for await`; or `take()` and `takeAll()` for the items that wait now, and `ready()` to
 * wait for more. `Item` is the chunk's type, with {@link Gap} added for a policy that can lose chunks.
 *
 * @example
 * ```ts
 * for await (const chunk of reader) render(chunk);
 *
 * // In batches that grow by themselves when the sink falls behind:
 * while (await reader.ready()) await sink.write(reader.takeAll({ maxItems: 500 }).join(''));
 * ```
 */
export interface Reader<Item> extends AsyncIterable<Item>, AsyncDisposable {
  /** The offset of the next chunk that this reader will take, and from which a new reader would go on. */
  readonly offset: number;
  /** The chunks that wait for this reader; merged ones count as one. */
  readonly waitingItems: number;
  /** The bytes that wait for this reader. */
  readonly waitingBytes: number;
  /** The duration of the chunks that wait for this reader, in milliseconds, as the channel's `durationMs` counts it. */
  readonly waitingMs: number;
  /**
   * The age of the oldest chunk that this reader has not taken, in milliseconds; 0 when there is none. Needs the
   * channel's `measureAge` or a replay window in time, otherwise it is `NaN`. For chunks in a store: the age of the
   * first one stored, or of the last one read back.
   */
  readonly ageMs: number;
  /** The chunks in this reader's store that it spilled and has not taken; merged ones count as one. */
  readonly spilledItems: number;
  /** The chunks that this reader took; merged ones count as one. */
  readonly deliveredItems: number;
  /** The chunks that this reader lost, by its policy or by {@link skip}; each one is in a {@link Gap}. */
  readonly droppedItems: number;
  /**
   * The chunks that became part of another one. The number of chunks written since this reader started is always
   * `deliveredItems + waitingItems + spilledItems + droppedItems + mergedItems`.
   */
  readonly mergedItems: number;
  /** How the reader ended, or `undefined` while it can still receive something. */
  readonly end: ReaderEnd | undefined;
  /** The next item, at once, or `undefined` when nothing waits (which says nothing about the end). */
  take(): Item | undefined;
  /** All items that wait, or as many as the limits allow; empty when nothing waits. */
  takeAll(limits?: TakeLimits): Item[];
  /**
   * Waits until something can be taken. Resolves with `true` when it can, with `false` when nothing will come any more:
   * `end` then says why. The promise never rejects. One wait at a time: a second call while one waits returns the same
   * promise.
   */
  ready(): Promise<boolean>;
  /**
   * Waits as `ready` does, without the cost of a promise. Returns `true` when the wait is over already: something can
   * be taken, or nothing will come any more. Otherwise calls back when it is, once. The call comes while a chunk is
   * being written or the channel ends, so the callback should only schedule its work. A throw fails the reader. A
   * second call while one waits replaces its callback.
   */
  whenReady(callback: () => void): boolean;
  /**
   * Drops all chunks that wait for this reader, at once and for this reader alone, because they are not wanted any
   * more. Skipping makes room, so a write that waited for this reader goes on. Skipping spends no credit. Returns the
   * gap: from this reader's `offset` to the channel's `nextOffset`, or `undefined` when no chunk waits. If the stream
   * has ended, the reader ends next.
   *
   * With a policy that can lose chunks, that gap is the reader's next item. Any other reader goes on after the gap,
   * because its `Item` has no gaps: the gap is only returned and given to `onGap`.
   *
   * May be called in every callback but `merge`.
   *
   * @param reason The text for `Gap.reason`: not empty, and best not the name of a policy.
   * @throws {SpillwayError} `invalid_option` for a reason that is none; `merge_under_way` when `merge` calls it, or
   *   `weigh` or `durationMs` for a merged chunk. Like any error there, it fails the channel.
   * @example
   * ```ts
   * speechDetector.onStart = () => {
   *   const unheard = speaker.skip('barge-in');
   *   if (unheard !== undefined) voice.truncate(unheard.from);
   * };
   * ```
   */
  skip(reason: string): Gap | undefined;
  /** Detaches the reader. The stream lives on; a wait in `ready` resolves with `false`. Safe to call twice. */
  detach(): void;
}
