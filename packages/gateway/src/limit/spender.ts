import type { FormatName, TokenUsage } from '@spillway/core/format/format';
import type { LimitError } from '@spillway/server/limit/limit-error';
import { runningUsage } from '@spillway/server/stream/newest-usage';
import type { GatewayStream } from '@spillway/server/stream/stream';
import { answerTokens, textTokens } from './token-estimate.ts';

/** Who spends what a lease holds: a stream, or a conversation. */
export interface Spender {
  /** Aborted when it wants nothing more. */
  readonly signal: AbortSignal;
  /** What its provider has reported so far. */
  readonly reported: TokenUsage | undefined;
  /** The running totals of its newest events, which are parsed for it; `undefined`: it has none. */
  readonly running: TokenUsage | undefined;
  /** Whether its provider is or was at work for it, and did not refuse it. */
  readonly wasServed: boolean;
  /** Whether something of an answer has come. */
  readonly hasBegun: boolean;
  /** Whether it may be ended in its midst. */
  readonly mayBeCut: boolean;
  /** The tokens of its answers, by their length. */
  readonly estimatedTokens: number;
  /** A limit ends it. `counted`: the tokens so far. */
  cut(error: LimitError, counted: TokenUsage): void;
}

/** A stream as its lease sees it. `format`: of its answer's events; `undefined`: unknown. */
export function spenderOf(stream: GatewayStream, format: FormatName | undefined): Spender {
  return {
    signal: stream.signal,
    get reported() {
      return stream.reported;
    },
    get running() {
      return runningUsage(stream.body);
    },
    get wasServed() {
      const { body, end, phase, refusal } = stream;
      if (phase === 'waiting' || refusal !== undefined) return false;
      return body === undefined ? (end?.state ?? 'cancelled') === 'cancelled' : body.status < 400;
    },
    get hasBegun() {
      return stream.body !== undefined && stream.events > 0;
    },
    get mayBeCut() {
      // Half of a body that is no stream of events is of no use to anybody.
      return stream.body === undefined || stream.body.isEvents;
    },
    get estimatedTokens() {
      const { body, bytes, events, large } = stream;
      if (body?.isEvents === true) return answerTokens(format ?? 'openai-chat', events, bytes, large);
      // What is in a body of an unknown kind may be anything.
      return format === undefined ? 0 : textTokens(bytes);
    },
    cut: (error, counted) => stream.cut(error, counted),
  };
}
