import type { CarrierLeg } from '../carrier/carrier-leg.ts';
import type { StageFigures } from '../cascade/stage-figures.ts';
import type { ModelLeg } from '../model/model-leg.ts';
import type { Mouth } from './mouth.ts';
import type { WatchedPlayout } from './watched-playout.ts';

/** What waits in a call now, in milliseconds of audio, and what it has gone through. */
export interface CallFigures {
  /** Of the caller: what waits here for the model, what is on its way and not confirmed, what the model's socket has not taken. */
  readonly inWaitingMs: number;
  readonly inUnconfirmedMs: number;
  readonly inSocketMs: number;
  /** Of the model: what waits here for the ear, what is on its way and not confirmed, what the carrier's socket has not taken. */
  readonly outWaitingMs: number;
  readonly outUnconfirmedMs: number;
  readonly outSocketMs: number;
  readonly marksOut: number;
  readonly interruptions: number;
  readonly underruns: number;
  /** What interruptions have thrown away: on its way to the ear (at most), and here. */
  readonly droppedMs: number;
  /** What the model was too late for. */
  readonly lostMs: number;
  /** Sessions that were opened after one had failed. */
  readonly reopened: number;
  /** What is in each stage of a cascade, of its present session. Empty where the model is one. */
  readonly stages: readonly StageFigures[];
}

/** What waits in the places of a call now. `model`: of the present session. */
export function waitingIn({
  carrier,
  model,
  mouth,
  playout,
}: {
  readonly carrier: Pick<CarrierLeg, 'bufferedMs'>;
  readonly model: Pick<ModelLeg, 'bufferedMs' | 'stages' | 'unconfirmedMs'> | undefined;
  readonly mouth: Pick<Mouth, 'waitingMs'>;
  readonly playout: Pick<WatchedPlayout, 'marksOut' | 'unconfirmedMs' | 'waitingMs'>;
}): Pick<
  CallFigures,
  | 'inSocketMs'
  | 'inUnconfirmedMs'
  | 'inWaitingMs'
  | 'marksOut'
  | 'outSocketMs'
  | 'outUnconfirmedMs'
  | 'outWaitingMs'
  | 'stages'
> {
  return {
    inWaitingMs: mouth.waitingMs,
    inUnconfirmedMs: model?.unconfirmedMs ?? 0,
    inSocketMs: model?.bufferedMs ?? 0,
    outWaitingMs: playout.waitingMs,
    outUnconfirmedMs: playout.unconfirmedMs,
    outSocketMs: carrier.bufferedMs,
    marksOut: playout.marksOut,
    stages: model?.stages ?? [],
  };
}
