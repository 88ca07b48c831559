import type { Clock } from '@spillway/core/clock';
import { SpillwayError } from '@spillway/core';
import { bytesPerSample, msOfBytes } from '@spillway/core/audio';
import { invalid } from '@spillway/core/invalid';
import type { CarrierLeg } from '../carrier/carrier-leg.ts';
import type { ModelLeg } from '../model/model-leg.ts';
import type { CallTool } from '../tools/call-tool.ts';
import type { CallEvent } from './call-event.ts';
import type { Utterance } from './conversation.ts';

/** Why a model's session is over. */
export interface ModelFailure {
  /** The code of the leg's `ended`, or `not_ready`, `late`, `response_failed`: what the call found out by itself. */
  readonly code: string;
  readonly message: string;
}

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
  /** What the model may ask for and the call does. With none, `toolCalled` is answered by `Call.giveResult`. */
  readonly tools?: readonly CallTool[];
  /** Played again and again while a tool works and nothing else is heard, in the carrier's format. Default: silence. */
  readonly filler?: Uint8Array;
  /**
   * Opens another session after one has failed, with what was said so far: at once, and again after 1 and 2 s, until one of
   * them makes an answer. `undefined`: there is none, and the call ends. Default: there is none.
   */
  readonly reopenModel?: (past: readonly Utterance[], failure: ModelFailure) => ModelLeg | undefined;
  /** Said before a call ends whose model failed, that is too long, or that `finish` ends, in the carrier's format. Default: nothing. */
  readonly farewell?: Uint8Array;
  /**
   * What a noise does that is so short that it was no speech, such as a cough: `drop` is what speech does; with `resume` the
   * ear is silent until it is known, and then the answer goes on where it was. Then the model must not answer by itself
   * (`answersItself: false`). Default: `drop`.
   */
  readonly onShortNoise?: 'drop' | 'resume';
  /**
   * What stops within so long is short, as the model says it: 100 to 3,000 ms. A model says that speech has stopped after some
   * silence, of 500 ms mostly, which counts. Default: 700.
   */
  readonly shortNoiseMs?: number;
  /**
   * Audio that may be on its way to the ear and not be heard: 200 to 5,000 ms, of which 600 to 1,000 make sense. Longer than the way
   * to the ear and back by 160 ms, or the ear is starved. Default: 800.
   */
  readonly windowMs?: number;
  /** How long an answer may be ahead of the ear; beyond that it is ended at a pause: 1 s to 1 h. Default: 120,000. */
  readonly maxAnswerMs?: number;
  /** Audio of the caller that may wait while the model is not ready: 20 to 60,000 ms. Default: 5,000. */
  readonly maxEarlyMs?: number;
  /** Audio of the caller that may wait for a model that is late: 20 to 60,000 ms. Default: 400. */
  readonly maxLateMs?: number;
  /** How long the model may take until it is ready: 100 to 600,000 ms. Default: 10,000. */
  readonly readyTimeoutMs?: number;
  /** How long nothing may come of an answer that is due, before its model has failed: 1,000 to 600,000 ms. Default: 20,000. */
  readonly answerTimeoutMs?: number;
  /** How long an ear that has audio may confirm nothing before the call is ended: 100 to 600,000 ms. Default: 10,000. */
  readonly stallTimeoutMs?: number;
  /** How long a call may last: 1,000 ms to 24 days. Default: 3,600,000. */
  readonly maxDurationMs?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after' | 'nowMs'>;
}

/**
 * Checks that a model fits a carrier.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkLegs({
  carrier,
  model,
  onShortNoise,
}: Pick<CallOptions, 'carrier' | 'model' | 'onShortNoise'>): void {
  if (onShortNoise === 'resume' && model.answersItself)
    throw new SpillwayError(
      'invalid_option',
      'onShortNoise: resume: expected a model with answersItself: false, got one that answers a noise by itself.',
    );
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

/**
 * Checks a model that takes over, if there is one. One that does not fit is closed.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkedNext(
  options: Pick<CallOptions, 'carrier' | 'onShortNoise'>,
  model: ModelLeg | undefined,
): ModelLeg | undefined {
  try {
    if (model !== undefined) checkLegs({ ...options, model });
  } catch (error) {
    model?.close();
    throw error;
  }
  return model;
}

/**
 * Checks what does not depend on a model.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkCallOptions(options: CallOptions): void {
  const { carrier, farewell, filler, maxAnswerMs = 120_000, onShortNoise } = options;
  for (const [name, audio] of Object.entries({ farewell, filler })) {
    if (
      audio === undefined ||
      (audio.byteLength > 0 && audio.byteLength % bytesPerSample(carrier.format) === 0)
    )
      continue;
    throw invalid(
      `${name}: expected audio of whole samples in the carrier's format, got ${audio.byteLength} bytes.`,
    );
  }
  for (const [name, min, max] of ranges) {
    const value = options[name];
    if (value === undefined || (value >= min && value <= max)) continue;
    const bounds = [min, max].map((each) => each.toLocaleString('en')).join(' to ');
    throw invalid(`${name}: expected ${bounds} milliseconds, got ${value}.`);
  }
  if (onShortNoise !== undefined && !['drop', 'resume'].includes(onShortNoise))
    throw invalid(`onShortNoise: expected drop or resume, got ${JSON.stringify(onShortNoise)}.`);
  if (farewell !== undefined && msOfBytes(carrier.format, farewell.byteLength) > maxAnswerMs)
    throw invalid(`farewell: expected at most maxAnswerMs of audio, ${maxAnswerMs} ms, got more.`);
}

/** The durations among the options, and how long they may be. */
const ranges = [
  ['windowMs', 200, 5000],
  ['maxAnswerMs', 1000, 3_600_000],
  ['maxEarlyMs', 20, 60_000],
  ['maxLateMs', 20, 60_000],
  ['readyTimeoutMs', 100, 600_000],
  ['answerTimeoutMs', 1000, 600_000],
  ['stallTimeoutMs', 100, 600_000],
  ['shortNoiseMs', 100, 3000],
  // What a timer can wait for.
  ['maxDurationMs', 1000, 2_147_483_647],
] as const;
