import type { TokenUsage } from '@spillway/core/format/format';
import type { LimitError } from '@spillway/server/limit/limit-error';

/** The two ends of a realtime conversation. */
export const realtimeSides = ['client', 'provider'] as const;
export type RealtimeSide = (typeof realtimeSides)[number];

/**
 * Why a conversation ended. Of a side: it closed, its connection was lost, it took nothing for too long, or it sent what is
 * no valid message. Of the gateway: the conversation was too old, a limit ended it, there was no room for it, the gateway stops,
 * a tap that has to keep it cannot, or it failed.
 */
export const realtimeEndReasons = [
  'client_closed',
  'client_invalid',
  'client_lost',
  'client_stalled',
  'provider_closed',
  'provider_invalid',
  'provider_lost',
  'provider_stalled',
  'failed',
  'limit',
  'max_duration',
  'overloaded',
  'shutting_down',
  'tap_unavailable',
] as const;
export type RealtimeEndReason = (typeof realtimeEndReasons)[number];

/** What has gone one way. */
export interface DirectionFigures {
  readonly messages: number;
  readonly bytes: number;
  /** How often nothing was read because the other side took too little, and for how long in all. */
  readonly pauses: number;
  readonly pausedMs: number;
}

/** How a conversation ended, and what went through it. */
export interface RealtimeEnd {
  readonly reason: RealtimeEndReason;
  /** The close code that ended it; `undefined`: nobody has closed. */
  readonly closeCode: number | undefined;
  readonly toClient: DirectionFigures;
  readonly toProvider: DirectionFigures;
  readonly usage: TokenUsage | undefined;
  /** The limit that ended it, of a conversation that ended by `limit`. */
  readonly limit?: LimitError | undefined;
}
