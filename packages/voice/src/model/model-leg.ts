import type { AudioFormat, AudioGap, SpokenPart } from '@spillway/core/audio';
import type { SpokenWord } from '../call/heard-text.ts';
import type { StageFigures, StageName } from '../cascade/stage-figures.ts';

/** What a response has used, in tokens, as the model reports it. */
export interface ModelUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** How a response of a model ended. */
export type ResponseState = 'cancelled' | 'completed' | 'failed' | 'incomplete';

/** What comes from a realtime model. */
export type ModelEvent =
  /** It knows its instructions and takes audio. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'responseStarted'; readonly responseId: string }
  /** It speaks. */
  | {
      readonly kind: 'audio';
      readonly responseId: string;
      readonly part: SpokenPart;
      readonly audio: Uint8Array;
    }
  /** A part has no more audio. */
  | { readonly kind: 'audioEnded'; readonly responseId: string; readonly part: SpokenPart }
  /**
   * Words of what it says. Partial ones come as they are made: increments, each only what is new, with its spaces. `isWhole`:
   * all words of the part, in place of its partial ones. A session that is lost may leave partial ones alone.
   */
  | {
      readonly kind: 'said';
      readonly responseId: string;
      readonly part: SpokenPart;
      readonly text: string;
      readonly isWhole: boolean;
      /** Of whole words: when each was spoken, where that is known. */
      readonly words?: readonly SpokenWord[];
    }
  /** Words of the human, as it has understood them; `isWhole`: all of the item's, in place of its partial ones, which are increments. */
  | { readonly kind: 'heard'; readonly itemId: string; readonly text: string; readonly isWhole: boolean }
  | {
      readonly kind: 'responseEnded';
      readonly responseId: string;
      readonly state: ResponseState;
      readonly usage: ModelUsage | undefined;
    }
  /** What it has used, beside what the ends of responses say. */
  | { readonly kind: 'used'; readonly usage: ModelUsage }
  /** The human began to speak, or stopped. `atMs`: of the audio that the model got, since its beginning. */
  | { readonly kind: 'speechStarted'; readonly atMs: number }
  | { readonly kind: 'speechStopped'; readonly atMs: number }
  /** Audio of the human was lost, because a stage was late. */
  | ({ readonly kind: 'gap' } & AudioGap)
  /** What the human did had no words, and nothing is to be answered: no answer is due, although speech has stopped. */
  | { readonly kind: 'nothingHeard' }
  /** A stage of a cascade has the first result of what it was given; `waitedMs`: since it was due. */
  | { readonly kind: 'stageResult'; readonly stage: StageName; readonly waitedMs: number }
  /** A stage of a cascade has failed. What follows of it, is told apart. */
  | { readonly kind: 'stageFailed'; readonly stage: StageName; readonly code: string }
  /** It asks for a tool. `input`: the arguments, as JSON. */
  | {
      readonly kind: 'toolCalled';
      readonly responseId: string;
      readonly callId: string;
      readonly name: string;
      readonly input: string;
    }
  /** It does not want the result of a tool any more. */
  | { readonly kind: 'toolCancelled'; readonly callId: string }
  /** It said that something was wrong, and goes on. */
  | { readonly kind: 'warned'; readonly code: string; readonly message: string }
  /** Its socket takes audio again, or some that was sent has arrived. */
  | { readonly kind: 'drained' }
  /** The leg has ended; nothing follows. */
  | { readonly kind: 'ended'; readonly code: string; readonly message: string };

/** One call's connection to a realtime model. One file for each API knows its messages. */
export interface ModelLeg {
  /** The API's name: `openai-realtime`, `gemini-live`. */
  readonly api: string;
  /** What it takes, and what it makes. */
  readonly input: AudioFormat;
  readonly output: AudioFormat;
  /** Whether it begins a response by itself when the human has stopped speaking. Otherwise the call asks for it. */
  readonly answersItself: boolean;
  /** Audio that the socket has not taken yet, in milliseconds. */
  readonly bufferedMs: number;
  /**
   * Audio that was sent without a sign that the other side has it, in milliseconds: what the socket holds, the operating
   * system and the way. `bufferedMs` ≤ `unconfirmedMs` always.
   */
  readonly unconfirmedMs: number;
  /** What is in each stage now, where it is made of stages. */
  readonly stages?: readonly StageFigures[] | undefined;
  /** Begins to read. Called once. */
  listen(listener: (event: ModelEvent) => void): void;
  /** Sends what the human says. */
  send(audio: Uint8Array): void;
  /** Stops the response that is being made, or was asked for. Harmless without one. */
  cancel(): void;
  /**
   * Tells the model that only the first milliseconds of a part were heard. A whole number, at least 1, and at most the
   * part's own duration. Does nothing where the API cannot.
   */
  truncate(part: SpokenPart, heardMs: number): void;
  /** Tells the model that nothing of an item was heard. Does nothing where the API cannot. */
  remove(itemId: string): void;
  /** Asks for a response; `instructions` are for this one alone, such as a greeting. */
  respond(instructions?: string): void;
  /** Puts a text of the human's side into the conversation, such as keys that were pressed. */
  tell(text: string): void;
  /** Gives a tool's result, as text, and asks for a response to it. */
  giveResult(callId: string, output: string): void;
  /**
   * Tells how much of what it made the ear has not confirmed as played, in milliseconds, whenever that may have changed. A leg that
   * makes speech sentence by sentence waits for it.
   */
  unheard?(ms: number): void;
  /** Closes the connection. Safe to call twice. No event follows. */
  close(): void;
}
