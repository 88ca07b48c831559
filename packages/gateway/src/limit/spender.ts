import type { FormatName, TokenUsage } from '@spillway/core/format/format';
import type { LimitError } from '@spillway/server/limit/limit-error';
import { runningUsage } from '@spillway/server/stream/newest-usage';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { CountedTokens } from './lease-host.ts';
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

/**
 * The tokens that count. What the provider has refused, or never got, costs nothing. Whoever leaves while the provider is
 * at work pays for the prompt. A number that it does not report is estimated. `answerTokensAt`: of an estimate by
 * all that came; default: that estimate.
 */
export function countedTokens(
  usage: TokenUsage | undefined,
  spender: Pick<Spender, 'estimatedTokens' | 'wasServed'> | undefined,
  promptTokens: number,
  answerTokensAt = (estimate: number): number => estimate,
): Omit<CountedTokens, 'price'> {
  const { inputTokens, outputTokens } = usage ?? {};
  if (spender?.wasServed !== true)
    return { inputTokens: inputTokens ?? 0, outputTokens: outputTokens ?? 0, estimatedTokens: 0 };
  const answer = answerTokensAt(spender.estimatedTokens);
  return {
    inputTokens: inputTokens ?? promptTokens,
    outputTokens: outputTokens ?? answer,
    estimatedTokens:
      (inputTokens === undefined ? promptTokens : 0) + (outputTokens === undefined ? answer : 0),
  };
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
