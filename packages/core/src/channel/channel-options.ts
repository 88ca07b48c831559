import type { Clock } from '../clock.ts';
import { invalid } from '../invalid.ts';
import type { Merge } from '../merge.ts';
import type { ChunkMemory } from './chunk-memory.ts';
import { overflows } from './overflow.ts';
import type { Bounds, TakeLimits } from './bounds.ts';
import type { ReaderOptions } from './reader.ts';
import type { ChannelReaderOptions } from './reader-host.ts';

/** A channel's bounds, and the functions that measure and merge its chunks. At least one bound has to be given. */
export interface ChannelOptions<T> {
  /**
   * The bytes that may wait for one reader. Minimum 1, default no bound. When the bound is reached, the reader's
   * overflow policy decides. A chunk that is larger than the bound is still taken when nothing else waits. Such a chunk
   * does not count: the chunks after it have the whole bound.
   */
  readonly maxBytes?: number;
  /** The chunks that may wait for one reader. A whole number, 1 or more; default no bound. */
  readonly maxItems?: number;
  /**
   * The milliseconds that may wait for one reader, for chunks that take time to play. Minimum 1, default no bound. A
   * longer chunk is accepted when nothing else waits. The next chunk then has no room until readers have taken the
   * longer one.
   */
  readonly maxMs?: number;
  /**
   * The bytes of a chunk: a number from 0 to 2^40; called once per chunk. Needed with `merge` and with every bound in bytes: of
   * the channel, its replay window, a reader or a reader's credit. Default: every chunk weighs 0 bytes.
   */
  readonly weigh?: (chunk: T) => number;
  /**
   * How long a chunk takes to play, in milliseconds: a number from 0 to 2^40; called once per chunk. Needed with every
   * bound in milliseconds: of the channel, a reader or a reader's credit. Default: every chunk takes 0 ms.
   */
  readonly durationMs?: (chunk: T) => number;
  /**
   * Joins two neighbours into one without loss, or refuses with `undefined`. Must not change them: other readers may
   * have them. Needed for the policy `coalesce`, and called only for chunks that wait for a reader with that policy. A
   * throw fails the channel; readers still get the chunks that wait. Default: nothing is merged.
   */
  readonly merge?: Merge<T>;
  /**
   * Memory for the chunks that the channel keeps; for this channel alone. With it, chunks are only lent until `offer`
   * or `write` returns, and `merge` must not keep lent chunks either. Default: chunks are kept as they are.
   */
  readonly memory?: ChunkMemory<T>;
  /**
   * The largest weight of a merged chunk: two neighbours that would weigh more together are not merged. Minimum 1,
   * default 16 KiB (16,384).
   */
  readonly maxMergedBytes?: number;
  /**
   * The chunks that are kept although every reader has passed them, for a reader that comes back. With it, a channel
   * without readers accepts every chunk. Default: no chunks are kept.
   */
  readonly replay?: ReplayWindow;
  /**
   * The offset of the first chunk, for a stream that began elsewhere. An integer from 0 to 2^53 − 1; all offsets have
   * to stay below that. Default: 0.
   */
  readonly firstOffset?: number;
  /** Measures how long chunks wait, for `ageMs`. Costs one reading of the clock for each chunk. Default: false. */
  readonly measureAge?: boolean;
  /** The clock that measures the age of chunks. It must never go back. Default: the system's. */
  readonly clock?: Pick<Clock, 'nowMs'>;
}

/** Bounds on the chunks that are kept for readers that come back. The first bound that is reached counts. */
export interface ReplayWindow {
  /** The bytes of the chunks kept. Minimum 0, default no bound. */
  readonly maxBytes?: number;
  /** The number of chunks kept; merged ones count as one. A whole number, 0 or more; default no bound. */
  readonly maxItems?: number;
  /**
   * Milliseconds since a chunk was written. Minimum 0, default no bound. No reader gets an older chunk. Old chunks are
   * only removed when something is written, taken or asked of the channel: the channel has no timer.
   */
  readonly maxAgeMs?: number;
  /**
   * Bytes of everything that the channel holds, waiting chunks included: the more waits, the less is kept. Minimum 0,
   * default no bound.
   */
  readonly maxHeldBytes?: number;
  /**
   * Merges kept chunks, and then chunks that wait for readers that allow it, before any chunk is removed. The newest
   * quarter of `maxHeldBytes` stays unmerged: a reader can come back to every offset in it. Before that quarter, a
   * reader can come back only to the start of a merged chunk. Needs the channel's `merge` and `maxHeldBytes`. Default:
   * false.
   */
  readonly merges?: boolean;
}

export const unbounded: Bounds = { maxBytes: Infinity, maxItems: Infinity, maxMs: Infinity };

export function checkedBounds(given: Partial<Bounds>, inherited: Bounds): Bounds {
  const { maxBytes = inherited.maxBytes, maxItems = inherited.maxItems, maxMs = inherited.maxMs } = given;
  const bounds = { maxBytes, maxItems, maxMs };
  atLeast(1, bounds);
  return bounds;
}

/** Checks options that depend on each other. Bounds are checked in `checkedBounds`. */
export function checkOptions<T>(options: ChannelOptions<T>): void {
  const { firstOffset = 0, maxBytes, maxItems, maxMergedBytes = 1, maxMs } = options;
  const { merge, replay } = options;
  atLeast(1, { maxMergedBytes });
  if (!Number.isSafeInteger(firstOffset) || firstOffset < 0) {
    throw invalid(`firstOffset: expected an integer from 0 to 2^53 − 1, got ${firstOffset}.`);
  }
  if (maxBytes === undefined && maxItems === undefined && maxMs === undefined) {
    throw invalid('A channel needs a bound: expected maxBytes, maxItems, maxMs or several, got none.');
  }
  needMeasures(options, { maxBytes, merge }, { maxMs });
  if (replay !== undefined) {
    const { merges = false, ...bounds } = replay;
    atLeast(0, bounds);
    needMeasures(options, { 'replay.maxBytes': bounds.maxBytes, 'replay.maxHeldBytes': bounds.maxHeldBytes });
    if (merges && (merge === undefined || replay.maxHeldBytes === undefined)) {
      throw invalid('A replay window that merges needs the channel’s merge, and maxHeldBytes.');
    }
  }
}

/** Checks and completes a reader's options; its bounds default to the channel's. */
export function checkedReaderOptions<T>(
  options: ReaderOptions<T>,
  channelBounds: Bounds,
  measures: Measures<T>,
): ChannelReaderOptions<T> {
  const { credit = [], gates = [], onCreditBlocked, onDrop, onGap, onPressure, overflow = 'block' } = options;
  const { highWatermark = 0.75, lowWatermark = 0.25 } = options;
  if (typeof overflow === 'string' && !overflows.includes(overflow)) {
    throw invalid(`overflow: expected one of ${overflows.join(', ')} or spillTo(store), got ${overflow}.`);
  }
  const { merges = overflow === 'coalesce' } = options;
  const asked = overflow === 'coalesce' ? 'The policy coalesce' : 'The option merges';
  if (merges && measures.merge === undefined) {
    throw invalid(`${asked} needs a channel with merge, the function that joins two neighbours.`);
  }
  if (merges && typeof overflow !== 'string') {
    throw invalid(`${asked} cannot be together with spillTo: what is in a store is not merged.`);
  }
  if (!(lowWatermark >= 0 && lowWatermark <= highWatermark && highWatermark <= 1)) {
    throw invalid(
      `Watermarks: expected 0 ≤ low ≤ high ≤ 1, got low ${lowWatermark} and high ${highWatermark}.`,
    );
  }
  const bounds = checkedBounds(options, channelBounds);
  const { maxBytes, maxMs } = options;
  const counts = (unit: 'bytes' | 'ms'): true | undefined =>
    credit.some(({ max }) => max[unit] < Infinity) || undefined;
  needMeasures(
    measures,
    { maxBytes, 'credit in bytes': counts('bytes') },
    { maxMs, 'credit in ms': counts('ms') },
  );
  return {
    overflow,
    merges,
    bounds,
    credit,
    gates,
    onCreditBlocked,
    onDrop,
    onGap,
    onPressure,
    highWatermark,
    lowWatermark,
  };
}

/** The channel's functions that measure and merge chunks. */
type Measures<T> = {
  readonly [name in 'durationMs' | 'merge' | 'weigh']?: ChannelOptions<T>[name] | undefined;
};

/** A bound needs its measure. Without one, every chunk is 0 bytes and 0 ms, so the bound would have no effect. */
function needMeasures<T>(
  { durationMs, weigh }: Measures<T>,
  needBytes: Readonly<Record<string, unknown>>,
  needMs: Readonly<Record<string, unknown>> = {},
): void {
  for (const [name, value] of Object.entries(weigh === undefined ? needBytes : {})) {
    if (value !== undefined)
      throw invalid(`${name} needs weigh, the function that says how many bytes a chunk has.`);
  }
  for (const [name, value] of Object.entries(durationMs === undefined ? needMs : {})) {
    if (value !== undefined)
      throw invalid(`${name} needs durationMs, the function that says how long a chunk takes to play.`);
  }
}

/** Checks and completes limits for one `takeAll` or `read`. */
export function checkedLimits({
  maxBytes = Infinity,
  maxItems = Infinity,
}: TakeLimits): Required<TakeLimits> {
  atLeast(0, { maxBytes });
  atLeast(1, { maxItems });
  return { maxBytes, maxItems };
}

/** Bytes and milliseconds may have fractions, as the functions that measure a chunk may; items are counted. */
function atLeast(minimum: number, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    const isCount = name === 'maxItems';
    if (value >= minimum && (!isCount || value === Infinity || Number.isInteger(value))) continue;
    throw invalid(`${name}: expected ${isCount ? 'a whole number, ' : ''}${minimum} or more, got ${value}.`);
  }
}

/**
 * 2^40: a TiB, or 35 years. The sum over all chunks has to stay an exact number: after a larger chunk, the weight of
 * later ones would be lost.
 */
const maxMeasure = 1_099_511_627_776;

export function measured(name: string, unit: string, value: number): number {
  if (!(value >= 0 && value <= maxMeasure)) {
    throw invalid(`${name}: expected from 0 to 2^40 ${unit}, got ${value}.`);
  }
  return value;
}
