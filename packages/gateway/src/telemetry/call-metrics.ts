import type { Meter as Instruments } from '@opentelemetry/api';
import type { CallEndReason, CallFigures } from '@spillway/voice';

/** What all calls have gone through, those that are over too. Times are milliseconds of audio. */
export interface CallTotals {
  readonly ended: Readonly<Partial<Record<CallEndReason, number>>>;
  readonly interruptions: number;
  readonly underruns: number;
  readonly droppedMs: number;
  readonly lostMs: number;
}

/** Calls, as metrics read them. */
export interface MeteredCalls {
  readonly size: number;
  readonly figures: readonly CallFigures[];
  readonly totals: CallTotals;
}

/** Where audio waits: the caller's for the model, and the model's for the ear. */
const waits = {
  in_waiting: ({ inWaitingMs }) => inWaitingMs,
  in_socket: ({ inSocketMs }) => inSocketMs,
  out_waiting: ({ outWaitingMs }) => outWaitingMs,
  out_unconfirmed: ({ outUnconfirmedMs }) => outUnconfirmedMs,
  out_socket: ({ outSocketMs }) => outSocketMs,
} satisfies Readonly<Record<string, (call: CallFigures) => number>>;

/** Defines the figures of calls, of which there are none where no calls are served. All are read at once. */
export function defineCallMetrics(instruments: Instruments, calls: () => MeteredCalls | undefined): void {
  const active = instruments.createObservableGauge('spillway.calls.active', {
    unit: '{call}',
    description: 'Calls that run',
  });
  const waiting = instruments.createObservableGauge('spillway.call.audio.max', {
    unit: 's',
    description:
      'Audio in one place of the call that has most there: of the caller in_waiting and in_socket (for the model); of the model out_waiting, out_unconfirmed (on its way to the ear, at most) and out_socket',
  });
  const ended = instruments.createObservableCounter('spillway.calls.ended', {
    unit: '{call}',
    description: 'Calls that ended, by the reason',
  });
  const interruptions = instruments.createObservableCounter('spillway.call.interruptions', {
    unit: '{interruption}',
    description: 'How often a caller spoke into an answer',
  });
  const dropped = instruments.createObservableCounter('spillway.call.audio.dropped', {
    unit: 's',
    description: 'Speech of models that nobody heard, because the caller spoke into it',
  });
  const lost = instruments.createObservableCounter('spillway.call.audio.lost', {
    unit: 's',
    description: 'Audio of callers that a model was too late for',
  });
  const underruns = instruments.createObservableCounter('spillway.call.underruns', {
    unit: '{underrun}',
    description: 'How often an ear had nothing to play in the middle of an answer',
  });
  instruments.addBatchObservableCallback(
    (result) => {
      const served = calls();
      if (served === undefined) return;
      const { figures, size, totals } = served;
      result.observe(active, size);
      for (const [place, read] of Object.entries(waits))
        result.observe(waiting, figures.reduce((most, one) => Math.max(most, read(one)), 0) / 1000, {
          place,
        });
      for (const [reason, count] of Object.entries(totals.ended)) result.observe(ended, count, { reason });
      result.observe(interruptions, totals.interruptions);
      result.observe(dropped, totals.droppedMs / 1000);
      result.observe(lost, totals.lostMs / 1000);
      result.observe(underruns, totals.underruns);
    },
    [active, waiting, ended, interruptions, dropped, lost, underruns],
  );
}
