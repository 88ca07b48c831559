import { keepNewest } from './keep-newest.ts';
import type { GeminiSetup } from './gemini-client-message.ts';

/** What a simulated Gemini was told, and what it did: the truth that a call is measured against. */
export interface SimulatedGeminiTruth {
  /** How the session was set up; `undefined`: not yet. */
  readonly setup: GeminiSetup | undefined;
  /** The audio that came, in milliseconds. */
  readonly receivedMs: number;
  /** The conversation of before, as the client told it. */
  readonly history: readonly { readonly role: string; readonly text: string }[];
  /** The human's turns, on the time of the audio that came. */
  readonly turns: readonly { readonly fromMs: number; readonly toMs: number; readonly heard: string }[];
  /** What the model has made, turn by turn, and believes to have said: it cannot be told otherwise. */
  readonly answers: readonly GeminiAnswer[];
  /** Texts that came in real time. */
  readonly texts: readonly string[];
  /** Results of tools. */
  readonly results: readonly { readonly id: string; readonly response: Readonly<Record<string, unknown>> }[];
  /** Why the connection was closed from here; `undefined`: it was not. */
  readonly refusal: { readonly code: number; readonly reason: string } | undefined;
}

/** A turn of the model that is over. */
export interface GeminiAnswer {
  readonly text: string;
  /** The audio that was made of it. */
  readonly madeMs: number;
  readonly isInterrupted: boolean;
}

/** The longest text of a client that is kept, in characters. */
const maxTextLength = 10_000;

type Kept = Omit<SimulatedGeminiTruth, 'receivedMs' | 'setup'>;

/** Writes down what happens. */
export class GeminiTruth {
  readonly #kept: {
    -readonly [Name in keyof Kept]: Kept[Name] extends readonly (infer One)[] ? One[] : Kept[Name];
  } = { history: [], turns: [], answers: [], texts: [], results: [], refusal: undefined };

  remembered(role: string, text: string): void {
    keepNewest(this.#kept.history, { role, text: text.slice(0, maxTextLength) });
  }

  heard(turn: SimulatedGeminiTruth['turns'][number]): void {
    keepNewest(this.#kept.turns, turn);
  }

  answered(answer: GeminiAnswer): void {
    keepNewest(this.#kept.answers, answer);
  }

  told(text: string): void {
    keepNewest(this.#kept.texts, text.slice(0, maxTextLength));
  }

  gotResult(id: string, response: Readonly<Record<string, unknown>>): void {
    keepNewest(this.#kept.results, { id, response });
  }

  refused(code: number, reason: string): void {
    this.#kept.refusal ??= { code, reason };
  }

  /** All of it, with what is known elsewhere. A copy. */
  shown(rest: Pick<SimulatedGeminiTruth, 'receivedMs' | 'setup'>): SimulatedGeminiTruth {
    return structuredClone({ ...this.#kept, ...rest });
  }
}
