import type { EventRun } from '@spillway/core/format/sse';
import { closeCodes, type CloseReason } from '@spillway/core/session';

/**
 * Why a provider is made to wait: what its slowest reader waits for.
 * `credit`: the client has not acknowledged enough.
 * `link`: the connection takes no more, or is slow and left alone for a moment.
 * `connection_lost`: the reader is not connected, and may come back.
 * `tap`: the operator's tap has not taken it.
 * `burst`: no reader; more came at once than the window holds.
 * `event_memory`: no reader; a large event finds no room beside those of all streams.
 * `limit`: no reader; a limit slows the stream to its pace, or has not granted more yet.
 */
export const stallCauses = [
  'burst',
  'connection_lost',
  'credit',
  'event_memory',
  'limit',
  'link',
  'tap',
] as const;
export type StallCause = (typeof stallCauses)[number];

/**
 * Why a session ended. `left`: the client left or was lost. `stalled`: the client took nothing of what was written.
 * The others are reasons that the client was sent.
 */
const sessionEndReasons = [...(Object.keys(closeCodes) as CloseReason[]), 'left', 'stalled'] as const;
export type SessionEndReason = (typeof sessionEndReasons)[number];

/** The times to a first token that are kept until metrics ask: the latest. */
const maxTtfts = 1000;

/**
 * Counts made on the path of a chunk. They are plain numbers, which metrics and console read when asked. A token is
 * an event with data. Most formats send one token an event; a few send several.
 */
export class Meter {
  bytesIn = 0;
  /** Events from providers: the tokens generated. */
  eventsIn = 0;
  bytesOut = 0;
  eventsOut = 0;
  /** The events that were merged into others. eventsOut + mergedEvents = the tokens delivered. */
  mergedEvents = 0;
  tokensAcknowledged = 0;
  tokensLost = 0;
  /** An estimate: the tokens that cancelled streams would still have generated. */
  tokensSaved = 0;
  readonly stalls: Record<StallCause, number> = ofCauses();
  readonly stallMs: Record<StallCause, number> = ofCauses();
  /** The number of gaps, by reason. */
  readonly gaps: Record<string, number> = { 'drop-newest': 0, 'drop-oldest': 0, latest: 0 };
  retries = 0;
  /** Readers that came back over another connection: `resumed` could go on, `refused` could not. */
  readonly resumes = { refused: 0, resumed: 0 };
  readonly sessionsEnded = Object.fromEntries(sessionEndReasons.map((reason) => [reason, 0])) as Record<
    SessionEndReason,
    number
  >;
  /**
   * Sessions that are not read at the moment. The client sends faster than the server can handle, or does not take
   * the answers.
   */
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

  /** A stream's first token has come, after `ttftMs`. */
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

/** The tokens that a run stands for: its own events and those merged into them. */
export function tokensOf({ events, mergedEvents = 0 }: EventRun): number {
  return events + mergedEvents;
}

/** A number for every cause. */
export function ofCauses(): Record<StallCause, number> {
  return { burst: 0, connection_lost: 0, credit: 0, event_memory: 0, limit: 0, link: 0, tap: 0 };
}
