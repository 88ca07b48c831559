import { SpillwayError } from '@spillway/core';
import type { Clock } from '@spillway/core/clock';
import type { Speech } from '../speech.ts';

/** What goes wrong. Changes hold for what comes from then on. */
export interface SimulatedRecogniserFaults {
  /** Each answer comes so much later: 0 to 3,600,000 ms. Answers stay in order. Default: 0. */
  readonly lateMs?: number;
  /** It answers nothing while this is set; what waits is answered after that. Default: `false`. */
  readonly isStalled?: boolean;
  /** The connection is cut in the middle of an answer, without a close frame. Default: `false`. */
  readonly isCut?: boolean;
  /** New requests and connections are refused with HTTP status 429, and `Retry-After` of so many seconds. Default: none. */
  readonly rateLimitedS?: number;
  /** New requests and connections are answered with this HTTP status: 400 to 599. Default: none. */
  readonly status?: number;
}

/** How simulated recognisers behave. */
export interface SimulatedRecogniserOptions {
  /** The clips that are understood. Default: those that come with this package. */
  readonly speeches?: readonly Speech[];
  /** The key that clients have to have. Default: none is asked for. */
  readonly apiKey?: string;
  /** What goes wrong. Default: nothing. */
  readonly faults?: SimulatedRecogniserFaults;
  /** Of Deepgram's: how much audio an interim result is about: 100 to 10,000 ms. Default: 500. */
  readonly interimMs?: number;
  /** Of Deepgram's: the longest audio of one final result: 500 to 60,000 ms. Default: 3,000. */
  readonly segmentMs?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after'>;
}

/** What a simulated recogniser has understood: one request, or what came before a `Finalize`. */
export interface RecognisedSpeech {
  readonly api: 'deepgram' | 'openai-transcription';
  readonly text: string;
  readonly audioMs: number;
}

/**
 * Checks what came from outside.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkRecogniserOptions({ faults, interimMs, segmentMs }: SimulatedRecogniserOptions): void {
  for (const [name, value, min, max] of [
    ['interimMs', interimMs ?? 100, 100, 10_000],
    ['segmentMs', segmentMs ?? 500, 500, 60_000],
    ['faults.lateMs', faults?.lateMs ?? 0, 0, 3_600_000],
    ['faults.rateLimitedS', faults?.rateLimitedS ?? 0, 0, 3600],
    ['faults.status', faults?.status ?? 400, 400, 599],
  ] as const) {
    if (!(value >= min && value <= max))
      throw new SpillwayError('invalid_option', `${name}: expected ${min} to ${max}, got ${value}.`);
  }
}
