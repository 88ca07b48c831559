import { keepNewest } from './keep-newest.ts';
import type { SessionSettings } from './session-settings.ts';

/** What a simulated model was told, and what it did: the truth that a call is measured against. */
export interface SimulatedModelTruth {
  /** The audio that came, in milliseconds. */
  readonly receivedMs: number;
  readonly settings: SessionSettings;
  /** The words that the model believes it has said, item by item: without what was truncated and deleted. */
  readonly said: readonly string[];
  /** The human's turns, on the time of the audio that came. */
  readonly turns: readonly HeardTurn[];
  /** The responses that have ended. */
  readonly responses: readonly EndedResponse[];
  readonly truncations: readonly Truncation[];
  /** The ids of items that were deleted. */
  readonly deletions: readonly string[];
  /** Texts that were put into the conversation. */
  readonly texts: readonly { readonly role: string; readonly text: string }[];
  /** Results of tools. */
  readonly results: readonly { readonly callId: string; readonly output: string }[];
  /** Responses that were cancelled by the client. */
  readonly cancellations: number;
  /** What was refused, and why. `event`: its type; empty if it had none. */
  readonly refusals: readonly RefusedEvent[];
}

/** What the human said in one go. */
export interface HeardTurn {
  readonly itemId: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly heard: string;
}

/** A response that has ended. */
export interface EndedResponse {
  readonly id: string;
  readonly itemId: string | undefined;
  /** The audio that was made of it. */
  readonly madeMs: number;
  readonly state: string;
}

/** An item that was cut, because no more of it was heard. `madeMs`: what there had been of it. */
export interface Truncation {
  readonly itemId: string;
  readonly audioEndMs: number;
  readonly madeMs: number;
}

/** An event that was not taken. */
export interface RefusedEvent {
  readonly event: string;
  readonly code: string | null;
  readonly message: string;
}

/** The longest text of a client that is kept, in characters. */
const maxTextLength = 10_000;

/** Writes down what happens. */
export class ModelTruth {
  readonly #turns: HeardTurn[] = [];
  readonly #responses: EndedResponse[] = [];
  readonly #truncations: Truncation[] = [];
  readonly #deletions: string[] = [];
  readonly #texts: { role: string; text: string }[] = [];
  readonly #results: { callId: string; output: string }[] = [];
  readonly #refusals: RefusedEvent[] = [];
  #cancellations = 0;

  heard(turn: HeardTurn): void {
    keepNewest(this.#turns, turn);
  }

  responded(response: EndedResponse): void {
    keepNewest(this.#responses, response);
  }

  truncated(truncation: Truncation): void {
    keepNewest(this.#truncations, truncation);
  }

  removed(itemId: string): void {
    keepNewest(this.#deletions, itemId);
  }

  told(role: string, text: string): void {
    keepNewest(this.#texts, { role, text: text.slice(0, maxTextLength) });
  }

  gotResult(callId: string, output: string): void {
    keepNewest(this.#results, { callId, output: output.slice(0, maxTextLength) });
  }

  refused(event: RefusedEvent): void {
    keepNewest(this.#refusals, event);
  }

  cancelled(): void {
    this.#cancellations += 1;
  }

  /** All of it, with what is known elsewhere. */
  shown(rest: Pick<SimulatedModelTruth, 'receivedMs' | 'said' | 'settings'>): SimulatedModelTruth {
    return {
      ...rest,
      turns: [...this.#turns],
      responses: [...this.#responses],
      truncations: [...this.#truncations],
      deletions: [...this.#deletions],
      texts: [...this.#texts],
      results: [...this.#results],
      cancellations: this.#cancellations,
      refusals: [...this.#refusals],
    };
  }
}
