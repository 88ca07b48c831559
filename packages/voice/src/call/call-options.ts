import type { Clock } from '@spillway/core/clock';
import { SpillwayError } from '@spillway/core';
import type { CarrierLeg } from '../carrier/carrier-leg.ts';
import type { ModelLeg } from '../model/model-leg.ts';
import type { CallEvent } from './call-event.ts';

/** What a call is made of. */
export interface CallOptions {
  /** The human's end, after its start message. */
  readonly carrier: CarrierLeg;
  /** The model's end. Its formats have to be the carrier's. */
  readonly model: ModelLeg;
  /** Called for everything that happens. Must not throw. */
  readonly onEvent?: (event: CallEvent) => void;
  /** What the model is asked to say first. Default: it waits until the human speaks. */
  readonly greeting?: string;
  /** Audio that may be on its way to the ear and not be heard: 600 to 1,000 ms. Default: 800. */
  readonly windowMs?: number;
  /** How long an answer may be ahead of the ear; beyond that it is ended at a pause: 1 s to 1 h. Default: 120,000. */
  readonly maxAnswerMs?: number;
  /** Audio of the caller that may wait while the model is not ready: 20 to 60,000 ms. Default: 5,000. */
  readonly maxEarlyMs?: number;
  /** Audio of the caller that may wait for a model that is late: 20 to 60,000 ms. Default: 400. */
  readonly maxLateMs?: number;
  /** How long the model may take until it is ready. Default: 10,000. */
  readonly readyTimeoutMs?: number;
  /** How long an ear that has audio may confirm nothing before the call is ended. Default: 10,000. */
  readonly stallTimeoutMs?: number;
  /** How long a call may last. Default: 3,600,000. */
  readonly maxDurationMs?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after' | 'nowMs'>;
}

/**
 * Checks that the two ends fit.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkLegs({ carrier, model }: CallOptions): void {
  for (const [name, format] of [
    ['input', model.input],
    ['output', model.output],
  ] as const) {
    if (format.encoding === carrier.format.encoding && format.sampleRateHz === carrier.format.sampleRateHz)
      continue;
    throw new SpillwayError(
      'invalid_option',
      `model.${name}: expected the carrier's format, ${carrier.format.encoding} at ${carrier.format.sampleRateHz} Hz, got ${format.encoding} at ${format.sampleRateHz} Hz.`,
    );
  }
}
