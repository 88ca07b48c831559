import type { Recogniser } from '../cascade/recogniser.ts';

/** Speech that the recogniser understands without an error. */
export interface KnownUtterance {
  /** In the recogniser's format, at least 1 s. */
  readonly audio: Uint8Array;
  /** Its words. Capitals and punctuation do not count. */
  readonly text: string;
}

/** The other side of a recogniser as {@link recogniserRules} needs it, for one check alone. What it cannot do is absent; its checks are skipped. */
export interface RecogniserEngine {
  /** Opens a recogniser. `isImpatient`: it waits for nothing longer than 2 s. */
  open(options?: { readonly isImpatient?: boolean }): Recogniser;
  /** Two that have different words. */
  readonly utterances: readonly [KnownUtterance, KnownUtterance];
  /** Whether words come with times. */
  readonly hasTimes: boolean;
  /** Whether the other side says what it has worked on. */
  readonly confirms: boolean;
  /** The key that the recogniser has: no event may have it. */
  readonly secret?: string;
  /** Makes the other side answer nothing until `heal`. It may take what is sent. */
  stall?(): Promise<void> | void;
  /** Makes it end what it is answering in the middle, and what is answered later, until `heal`. */
  cut?(): Promise<void> | void;
  /** Makes it refuse requests and connections because there are too many, until `heal`. */
  limit?(): Promise<void> | void;
  /** Ends what the others began. */
  heal?(): Promise<void> | void;
  /** Opens a recogniser, impatient, of which the other side is not there. */
  openUnreachable?(): Recogniser;
  /** Opens a recogniser, impatient, of which the other side says this wherever it may say something. */
  openWild?(says: Uint8Array): Recogniser;
  /** The connections, requests and processes that recognisers have open now. */
  openCount?(): Promise<number> | number;
  /** Removes the engine, at the end of the check. */
  remove?(): Promise<void> | void;
}
