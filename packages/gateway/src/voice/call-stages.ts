import type { ModelLeg, StageFigures, StageName } from '@spillway/voice';

/** What has gone through a stage: numbers that only grow. */
export type StageTotals = Pick<StageFigures, 'busyMs' | 'characters' | 'doneMs' | 'droppedMs' | 'errors'>;

const nothing: StageTotals = { busyMs: 0, characters: 0, doneMs: 0, droppedMs: 0, errors: 0 };

/** No stage has done anything. */
export function noStages(): Record<StageName, StageTotals> {
  return { recognise: nothing, reason: nothing, speak: nothing };
}

/** Both together. */
export function sumOfStage(one: StageTotals, other: StageTotals): StageTotals {
  return {
    busyMs: one.busyMs + other.busyMs,
    characters: one.characters + other.characters,
    doneMs: one.doneMs + other.doneMs,
    droppedMs: one.droppedMs + other.droppedMs,
    errors: one.errors + other.errors,
  };
}

/** What goes through the stages of a call, in all of its sessions. */
export class CallStages {
  #leg: Pick<ModelLeg, 'stages'> | undefined;
  readonly #before = noStages();

  /** Another session takes over. */
  opened(leg: Pick<ModelLeg, 'stages'>): void {
    for (const each of this.#leg?.stages ?? [])
      this.#before[each.stage] = sumOfStage(this.#before[each.stage], each);
    this.#leg = leg;
  }

  /** What is in each stage now, and what has gone through it in all. Empty: the model has no stages. */
  get figures(): readonly StageFigures[] {
    return (this.#leg?.stages ?? []).map((each) => ({
      ...each,
      ...sumOfStage(this.#before[each.stage], each),
    }));
  }
}
