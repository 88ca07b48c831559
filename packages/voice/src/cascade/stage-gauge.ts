import type { StageFigures, StageName } from './stage-figures.ts';

/** Counts what goes through a stage. */
export class StageGauge {
  readonly #name: StageName;
  readonly #api: string;
  waitedMs: number | undefined;
  doneMs = 0;
  busyMs = 0;
  errors = 0;
  droppedMs = 0;
  characters = 0;

  constructor(name: StageName, api: string) {
    this.#name = name;
    this.#api = api;
  }

  /** What is shown. `depthMs`: what is in it now. */
  figures(depthMs: number): StageFigures {
    const { busyMs, characters, doneMs, droppedMs, errors, waitedMs } = this;
    const stage = this.#name;
    return { stage, api: this.#api, depthMs, waitedMs, doneMs, busyMs, errors, droppedMs, characters };
  }
}
