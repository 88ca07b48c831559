import type { Counter, Histogram, Meter as Instruments, Observable } from '@opentelemetry/api';
import type { CallEvent, CallFigures, StageErrorCode, StageName } from '@spillway/voice';
import type { StageTotals } from '../voice/call-stages.ts';

/** Calls of cascades, as metrics read them. */
export interface StagedCalls {
  readonly figures: readonly Pick<CallFigures, 'stages'>[];
  readonly totals: { readonly stages: Readonly<Record<StageName, StageTotals>> };
}

/** The stages of a cascade, in the order in which words go through them. */
const stageNames = ['recognise', 'reason', 'speak'] as const satisfies readonly StageName[];

/** Unit, description, and how to read the number. */
const counters: Readonly<Record<string, readonly [string, string, (stage: StageTotals) => number]>> = {
  'spillway.call.stage.audio': [
    's',
    'Speech that a stage has made words of, or made; of reason an estimate of what its words take to be spoken',
    ({ doneMs }) => doneMs / 1000,
  ],
  'spillway.call.stage.busy': [
    's',
    'How long a stage was at work; by spillway_call_stage_audio_seconds_total it is its real-time factor, which has to be below 1',
    ({ busyMs }) => busyMs / 1000,
  ],
  'spillway.call.stage.dropped': [
    's',
    'Speech that a stage was given, or made, for nobody: the caller spoke into it, or it was too late',
    ({ droppedMs }) => droppedMs / 1000,
  ],
};

/** Bounds of what a stage takes to its first result, in seconds. */
const waitBuckets = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10];

/** The codes of failures that have a series of their own. A service's own words are not among them. */
const codes: ReadonlySet<string> = new Set<StageErrorCode>([
  'bad_message',
  'late',
  'lost',
  'rate_limited',
  'refused',
  'unauthorized',
  'unreachable',
]);

/** The figures of the stages of calls, of which there are none where a realtime model answers. */
export class CallStageMetrics {
  readonly #waits: Histogram;
  readonly #errors: Counter;

  constructor(instruments: Instruments, calls: () => StagedCalls | undefined) {
    this.#waits = instruments.createHistogram('spillway.call.stage.wait', {
      unit: 's',
      description:
        'From when the result of a stage is due to the first of it: from the end of what the caller says to its words, from the request to the answer’s first words, from a sentence to its first audio',
      advice: { explicitBucketBoundaries: waitBuckets },
    });
    this.#errors = instruments.createCounter('spillway.call.stage.errors', {
      unit: '{error}',
      description: 'Failures of stages, by their code',
    });
    observe(instruments, calls);
  }

  /** Notes what happened in a call. */
  saw(event: CallEvent): void {
    if (event.kind === 'stageResult') this.#waits.record(event.waitedMs / 1000, { stage: event.stage });
    else if (event.kind === 'stageFailed')
      this.#errors.add(1, { stage: event.stage, code: codes.has(event.code) ? event.code : 'other' });
  }
}

/** Defines what is read of the stages, all at once. */
function observe(instruments: Instruments, calls: () => StagedCalls | undefined): void {
  const depth = instruments.createObservableGauge('spillway.call.stage.depth.max', {
    unit: 's',
    description:
      'Speech in a stage of the call that has most there: what it was given and has not done, or as its words would take to be spoken',
  });
  const characters = instruments.createObservableCounter('spillway.call.stage.characters', {
    unit: '{character}',
    description: 'Characters that speakers were given to be spoken, for which most are paid',
  });
  const summed = Object.entries(counters).map(
    ([name, [unit, description, read]]) =>
      [instruments.createObservableCounter(name, { unit, description }), read] as const,
  );
  instruments.addBatchObservableCallback(
    (result) => {
      const served = calls();
      if (served === undefined) return;
      const { figures, totals } = served;
      const all = figures.flatMap(({ stages }) => stages);
      for (const stage of stageNames) {
        const depths = all.filter((each) => each.stage === stage).map(({ depthMs }) => depthMs);
        result.observe(depth, Math.max(0, ...depths) / 1000, { stage });
        for (const [counter, read] of summed) result.observe(counter, read(totals.stages[stage]), { stage });
      }
      result.observe(characters, totals.stages.speak.characters);
    },
    [depth, characters, ...summed.map(([counter]): Observable => counter)],
  );
}
