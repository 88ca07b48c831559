import type { EventRun } from '@spillway/core/format/sse';
import { closeCodes, type CloseReason } from '@spillway/core/session';

/**
 * Why a provider is made to wait: what its slowest reader waits for. `credit`: its client has not acknowledged
 * enough; `link`: its connection takes no more, or is slow and left alone for a moment; `connection_lost`: it is not
 * there, and may come back; `tap`: the operator's own reader has not taken it; `burst`: nothing, more came at once than its window holds. `event_memory`: it waits for nobody of
 * its own, but its large event finds no room beside those of all streams.
 */
export const stallCauses = ['burst', 'connection_lost', 'credit', 'event_memory', 'link', 'tap'] as const;
export type StallCause = (typeof stallCauses)[number];

/**
 * Why a session ended: its client left or was lost; it took nothing of what was written to it (`stalled`); or a reason that
 * it was told.
 */
const sessionEndReasons = [...(Object.keys(closeCodes) as CloseReason[]), 'left', 'stalled'] as const;
export type SessionEndReason = (typeof sessionEndReasons)[number];

/** The latest times to a first token that are kept for whoever asks next. */
const maxTtfts = 1000;

/**
 * What is counted on the path of a chunk: plain numbers, which metrics and console read when somebody asks. A token
 * is an event with data: formats send one a token, but for those that send several at once.
 */
export class Meter {
  bytesIn = 0;
  /** Events from providers, which is tokens generated. */
  eventsIn = 0;
  bytesOut = 0;
  eventsOut = 0;
  /** The events that became part of others. With `eventsOut`, the tokens delivered. */
  mergedEvents = 0;
  tokensAcknowledged = 0;
  tokensLost = 0;
  /** An estimate: what streams that were cancelled would still have generated. */
  tokensSaved = 0;
  readonly stalls: Record<StallCause, number> = ofCauses();
  readonly stallMs: Record<StallCause, number> = ofCauses();
  /** By their reason. */
  readonly gaps: Record<string, number> = { 'drop-newest': 0, 'drop-oldest': 0, latest: 0 };
  retries = 0;
  /** Readers that came back over another connection, and that could not. */
  readonly resumes = { refused: 0, resumed: 0 };
  readonly sessionsEnded = Object.fromEntries(sessionEndReasons.map((reason) => [reason, 0])) as Record<
    SessionEndReason,
    number
  >;
  /** Sessions that are not read at the moment: their clients send faster than it can be handled, or do not take the answers. */
  unreadSessions = 0;
  #ttftsMs: number[] = [];

  get tokensDelivered(): number {
    return this.eventsOut + this.mergedEvents;
  }

  received(events: number, bytes: number): void {
    this.eventsIn += events;
    this.bytesIn += bytes;
  }

  sent({ byteLength, events, mergedEvents = 0 }: EventRun): void {
    this.eventsOut += events;
    this.mergedEvents += mergedEvents;
    this.bytesOut += byteLength;
  }

  /** A stream's first token has come. */
  began(ttftMs: number): void {
    if (this.#ttftsMs.length < maxTtfts) this.#ttftsMs.push(ttftMs);
  }

  /** Times to the first token since the last call, at most 1000 of them. */
  takeTtftsMs(): number[] {
    const ttftsMs = this.#ttftsMs;
    this.#ttftsMs = [];
    return ttftsMs;
  }
}

/** The tokens that a run stands for, as the meter counts them. */
export function tokensOf({ events, mergedEvents = 0 }: EventRun): number {
  return events + mergedEvents;
}

/** A number for every cause. */
export function ofCauses(): Record<StallCause, number> {
  return { burst: 0, connection_lost: 0, credit: 0, event_memory: 0, link: 0, tap: 0 };
}
