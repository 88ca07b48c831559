/** The stages of a cascade. */
export type StageName = 'reason' | 'recognise' | 'speak';

/** What is in a stage now, and what has gone through it. */
export interface StageFigures {
  readonly stage: StageName;
  /** The API that does it. */
  readonly api: string;
  /**
   * What it was given and has not done, in milliseconds of speech: of the caller for `recognise`; what the caller said and is not
   * answered yet for `reason`; the text that waits to be spoken for `speak`, as an estimate.
   */
  readonly depthMs: number;
  /**
   * How long its latest first result took, in milliseconds: from the end of an utterance to its words, from the request to the first
   * words of an answer, from a sentence to its first audio. `undefined`: there was none.
   */
  readonly waitedMs: number | undefined;
  /** What it has done, in milliseconds of speech; of `reason` an estimate. */
  readonly doneMs: number;
  /** How long that took it: `busyMs` ÷ `doneMs` is its real-time factor, which is to be below 1. */
  readonly busyMs: number;
  /** How often it has failed. */
  readonly errors: number;
  /** What it was given, or made, for nobody: in milliseconds of speech. */
  readonly droppedMs: number;
  /** The characters that it was given to be spoken, for which a speaker is paid; 0 for the others. */
  readonly characters: number;
}
