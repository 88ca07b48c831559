import type { CallEvent, ToolOutcome } from '@spillway/voice';

/** What the log's line of a call says beside its figures. What is empty is left out. */
export interface CallWords {
  readonly detail: string | undefined;
  /** The code of the latest thing that the model said was wrong. */
  readonly warned: string | undefined;
  /** Requests for tools that were not simply answered, by their outcome. */
  readonly tools: Readonly<Partial<Record<ToolOutcome, number>>> | undefined;
}

/** A provider's code is its own text: what does not look like a code is not logged. */
const code = /^[\w.:-]{1,64}$/;

/** Keeps what the log says of a call at its end: codes and counts, and no word of it. */
export class CallNotes {
  #detail = '';
  #warned: string | undefined;
  readonly #tools: Partial<Record<ToolOutcome, number>> = {};

  saw(event: CallEvent): void {
    if (event.kind === 'ended') this.#detail = event.detail;
    else if (event.kind === 'warned') this.#warned = code.test(event.code) ? event.code : 'other';
    else if (event.kind === 'toolEnded' && event.outcome !== 'done')
      this.#tools[event.outcome] = (this.#tools[event.outcome] ?? 0) + 1;
  }

  get words(): CallWords {
    return {
      detail: this.#detail || undefined,
      warned: this.#warned,
      tools: Object.keys(this.#tools).length === 0 ? undefined : { ...this.#tools },
    };
  }
}
