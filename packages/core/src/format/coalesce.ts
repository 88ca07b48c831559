import { type DeltaEvent, mergeDeltas, openDelta, writeDelta } from './delta-event.ts';
import { createDissect, type DeltaRule, type Dissect } from './delta-rule.ts';
import { eventsIn } from './sse-events.ts';
import type { EventRun } from './sse.ts';

/** How far merging may go. */
export interface CoalesceOptions {
  /**
   * The largest event that is made out of several, in bytes. Minimum 1, default 16 KiB (16,384). What would be
   * larger becomes the next event.
   */
  readonly maxEventBytes?: number;
}

/** An event that may be merged, or the bytes of one that may not. */
type Part = DeltaEvent | Uint8Array;

/**
 * Merges the events of Server-Sent Events streams as a format's rule says, without loss: a channel's `merge`
 * for runs of events.
 *
 * Text that adds up is joined inside the provider's own bytes: nothing is written anew, so that numbers,
 * escapes and unknown fields stay as they were. Whatever a rule does not know has to be equal in both
 * events, or they stay two; order never changes. An event is looked at once, however often its run is
 * merged, and bytes are put together when somebody asks for them.
 *
 * @example
 * ```ts
 * const channel = openChannel<EventRun>({
 *   maxBytes: 65_536,
 *   weigh: (run) => run.byteLength,
 *   merge: createCoalesce(openaiChat.delta),
 * });
 * ```
 */
export function createCoalesce(
  rule: DeltaRule,
  { maxEventBytes = 16_384 }: CoalesceOptions = {},
): (first: EventRun, second: EventRun) => EventRun | undefined {
  const dissect = createDissect(rule);
  const parsed = new WeakMap<EventRun, CoalescedRun>();
  const open = (run: EventRun): CoalescedRun => {
    if (run instanceof CoalescedRun) return run;
    const known = parsed.get(run);
    if (known !== undefined) return known;
    const opened = new CoalescedRun([], partsOf(run.bytes, dissect), run.events, 0, maxEventBytes);
    parsed.set(run, opened);
    return opened;
  };
  return (first, second) => {
    const a = open(first);
    const b = open(second);
    const mergedEvents = a.mergedEvents + b.mergedEvents;
    const merged = new CoalescedRun(a.parts, b.parts, a.events + b.events, mergedEvents, maxEventBytes);
    const isJoined =
      merged.byteLength < first.byteLength + second.byteLength ||
      areHeldBack(a.parts.at(-1), b.parts[0], maxEventBytes);
    return isJoined ? merged : undefined;
  };
}

function partsOf(bytes: Uint8Array, dissect: Dissect): Part[] {
  return eventsIn(bytes).map(({ data, end, start }) => {
    // A copy of its own, because an event may stand for many and should not keep alive what came with it.
    const event = end - start === bytes.length ? bytes : bytes.slice(start, end);
    const holes = data && dissect(event, data.start - start, data.end - start);
    return (holes && openDelta(event, holes)) ?? event;
  });
}

/**
 * Whether two parts belong together although they stay two: the last of a run is held back, and is merged
 * when another one follows.
 */
function areHeldBack(last: Part | undefined, next: Part | undefined, maxBytes: number): boolean {
  if (last === undefined || next === undefined || last instanceof Uint8Array || next instanceof Uint8Array) {
    return false;
  }
  return last.keepsLast && next.keepsLast && mergeDeltas(last, next, maxBytes) !== undefined;
}

class CoalescedRun implements EventRun {
  readonly parts: readonly Part[];
  readonly events: number;
  readonly mergedEvents: number;
  readonly byteLength: number;
  #bytes: Uint8Array | undefined;

  constructor(
    before: readonly Part[],
    added: readonly Part[],
    events: number,
    mergedEvents: number,
    maxEventBytes: number,
  ) {
    const parts = [...before];
    for (const part of added) addPart(parts, part, maxEventBytes);
    this.parts = parts;
    const joined = before.length + added.length - parts.length;
    this.events = events - joined;
    this.mergedEvents = mergedEvents + joined;
    this.byteLength = parts.reduce((sum, part) => sum + part.byteLength, 0);
  }

  get bytes(): Uint8Array {
    if (this.#bytes !== undefined) return this.#bytes;
    const bytes = new Uint8Array(this.byteLength);
    let at = 0;
    for (const part of this.parts) {
      if (part instanceof Uint8Array) {
        bytes.set(part, at);
        at += part.length;
      } else {
        at = writeDelta(part, bytes, at);
      }
    }
    this.#bytes = bytes;
    return bytes;
  }
}

/** Adds a part behind others, or merges it with the last of them. */
function addPart(parts: Part[], part: Part, maxBytes: number): void {
  const last = parts.at(-1);
  if (part instanceof Uint8Array || last === undefined || last instanceof Uint8Array) {
    parts.push(part);
    return;
  }
  if (part.keepsLast) {
    // The one before is not the last of its run any more.
    const beforeLast = parts.at(-2);
    if (last.keepsLast && beforeLast !== undefined && !(beforeLast instanceof Uint8Array)) {
      const merged = mergeDeltas(beforeLast, last, maxBytes);
      if (merged !== undefined) parts.splice(-2, 2, merged);
    }
    parts.push(part);
    return;
  }
  const merged = last.keepsLast ? undefined : mergeDeltas(last, part, maxBytes);
  if (merged === undefined) parts.push(part);
  else parts[parts.length - 1] = merged;
}
