import type { Counter, Histogram, Meter as Instruments, Observable } from '@opentelemetry/api';
import type { CallEndReason, CallEvent, CallFigures } from '@spillway/voice';
import type { CallRefusal } from '../voice/call-refusals.ts';
import type { SoundTotals } from '../voice/caller-sound.ts';
import { CallStageMetrics, type StagedCalls } from './call-stage-metrics.ts';

/** What is counted of a call. Times are milliseconds of audio. */
export type CallCounts = Pick<
  CallFigures,
  'droppedMs' | 'interruptions' | 'lostMs' | 'reopened' | 'underruns'
>;

/** What all calls have gone through, those that are over too. */
export type CallTotals = CallCounts & {
  readonly stages: StagedCalls['totals']['stages'];
  /** How callers sound. */
  readonly sound: SoundTotals;
  readonly ended: Readonly<Record<CallEndReason, number>>;
  readonly refused: Readonly<Record<CallRefusal, number>>;
};

/** Calls, as metrics read them. */
export interface MeteredCalls {
  readonly size: number;
  readonly figures: readonly CallFigures[];
  readonly totals: CallTotals;
  /** How loud the callers are that speak, in dB of full scale. */
  readonly levelsDb: readonly number[];
}

/** Where audio waits: the caller's for the model, and the model's for the ear. */
const waits = {
  in_waiting: ({ inWaitingMs }) => inWaitingMs,
  in_unconfirmed: ({ inUnconfirmedMs }) => inUnconfirmedMs,
  in_socket: ({ inSocketMs }) => inSocketMs,
  out_waiting: ({ outWaitingMs }) => outWaitingMs,
  out_unconfirmed: ({ outUnconfirmedMs }) => outUnconfirmedMs,
  out_socket: ({ outSocketMs }) => outSocketMs,
} satisfies Readonly<Record<string, (call: CallFigures) => number>>;

/** Unit, description, and how to read the number. */
const counters: Readonly<Record<string, readonly [string, string, (totals: CallTotals) => number]>> = {
  'spillway.call.interruptions': [
    '{interruption}',
    'How often a caller spoke into an answer',
    ({ interruptions }) => interruptions,
  ],
  'spillway.call.audio.dropped': [
    's',
    'Speech of models that nobody heard, because the caller spoke into it',
    ({ droppedMs }) => droppedMs / 1000,
  ],
  'spillway.call.audio.lost': [
    's',
    'Audio of callers that a model was too late for',
    ({ lostMs }) => lostMs / 1000,
  ],
  'spillway.call.caller.audio': ['s', 'Audio that came from callers', ({ sound }) => sound.heardMs / 1000],
  'spillway.call.caller.speech': [
    's',
    'Audio of callers that was loud enough to be speech (above −46 dB of full scale)',
    ({ sound }) => sound.speechMs / 1000,
  ],
  'spillway.call.caller.clipped': [
    's',
    'Speech of callers that was too loud for its format, and is distorted',
    ({ sound }) => sound.clippedMs / 1000,
  ],
  'spillway.call.underruns': [
    '{underrun}',
    'How often an ear had nothing to play in the middle of an answer',
    ({ underruns }) => underruns,
  ],
  'spillway.call.sessions.reopened': [
    '{session}',
    'Sessions of models that were opened because one had failed, whether they were ready or not',
    ({ reopened }) => reopened,
  ],
};

/** Bounds of what an answer takes, in seconds: a person waits for half a second, and hangs up after some. */
const answerBuckets = [0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20];

/** The figures of calls, of which there are none where no calls are served. */
export class CallMetrics {
  readonly #answers: Histogram;
  readonly #tools: Counter;
  readonly #stages: CallStageMetrics;

  constructor(instruments: Instruments, calls: () => MeteredCalls | undefined) {
    this.#answers = instruments.createHistogram('spillway.call.answer.duration', {
      unit: 's',
      description:
        'From the end of what the caller says to the model’s first audio, and for a greeting from when it was asked for (stage model), and from there until the ear confirmed that it plays (stage ear)',
      advice: { explicitBucketBoundaries: answerBuckets },
    });
    this.#tools = instruments.createCounter('spillway.call.tools', {
      unit: '{request}',
      description: 'Requests of models for tools, by their outcome',
    });
    this.#stages = new CallStageMetrics(instruments, calls);
    observe(instruments, calls);
  }

  /** Notes what happened in a call. */
  saw(event: CallEvent): void {
    if (event.kind === 'answered') {
      this.#answers.record(event.thoughtMs / 1000, { stage: 'model' });
      this.#answers.record(event.playedMs / 1000, { stage: 'ear' });
    } else if (event.kind === 'toolEnded') this.#tools.add(1, { outcome: event.outcome });
    else this.#stages.saw(event);
  }
}

/** Defines what is read of the calls, all at once. */
function observe(instruments: Instruments, calls: () => MeteredCalls | undefined): void {
  const active = instruments.createObservableGauge('spillway.calls.active', {
    unit: '{call}',
    description: 'Calls that run',
  });
  const waiting = instruments.createObservableGauge('spillway.call.audio.max', {
    unit: 's',
    description:
      'Audio in one place of the call that has most there: of the caller in_waiting, in_unconfirmed (on its way to the model) and in_socket; of the model out_waiting, out_unconfirmed (on its way to the ear, at most) and out_socket',
  });
  const ended = instruments.createObservableCounter('spillway.calls.ended', {
    unit: '{call}',
    description: 'Calls that ended, by the reason',
  });
  const refused = instruments.createObservableCounter('spillway.calls.refused', {
    unit: '{call}',
    description: 'Calls that were not taken, by the reason',
  });
  const level = instruments.createObservableGauge('spillway.call.caller.level', {
    unit: 'dB',
    description:
      'How loud the speech of callers is, of full scale, in the call where it is loudest and where it is quietest',
  });
  const summed = Object.entries(counters).map(
    ([name, [unit, description, read]]) =>
      [instruments.createObservableCounter(name, { unit, description }), read] as const,
  );
  instruments.addBatchObservableCallback(
    (result) => {
      const served = calls();
      if (served === undefined) return;
      const { figures, levelsDb, size, totals } = served;
      result.observe(active, size);
      if (levelsDb.length > 0) {
        result.observe(level, Math.max(...levelsDb), { of: 'loudest' });
        result.observe(level, Math.min(...levelsDb), { of: 'quietest' });
      }
      for (const [place, read] of Object.entries(waits))
        result.observe(waiting, figures.reduce((most, one) => Math.max(most, read(one)), 0) / 1000, {
          place,
        });
      for (const [reason, count] of Object.entries(totals.ended)) result.observe(ended, count, { reason });
      for (const [reason, count] of Object.entries(totals.refused))
        result.observe(refused, count, { reason });
      for (const [counter, read] of summed) result.observe(counter, read(totals));
    },
    [active, waiting, ended, refused, level, ...summed.map(([counter]): Observable => counter)],
  );
}
