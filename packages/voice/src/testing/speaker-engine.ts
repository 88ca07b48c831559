import type { Speaker } from '../cascade/speaker.ts';

/** The other side of a speaker as {@link speakerRules} needs it, for one check alone. What it cannot do is absent; its checks are skipped. */
export interface SpeakerEngine {
  /** Opens a speaker. `isImpatient`: it waits for nothing longer than 2 s. */
  open(options?: { readonly isImpatient?: boolean }): Speaker;
  /** Two that sound different, of at least four words and one second each. */
  readonly texts: readonly [string, string];
  /** How a text sounds, in the speaker's format. Absent: as it sounds the first time. */
  soundOf?(text: string): Uint8Array;
  /** Whether the times of words come. */
  readonly hasTimes: boolean;
  /** The key that the speaker has: no error may have it. */
  readonly secret?: string;
  /** How much of the text that was asked for last the other side has sent: 0 to 1. Absent where 4,000 characters fit in what an operating system holds. */
  progress?(): number;
  /** Texts that the other side has not done with, because nobody told it that they are not wanted. */
  activeCount?(): number;
  /** Makes the other side silent, after it has begun, until `heal`. */
  stall?(): Promise<void> | void;
  /** Makes it end what it speaks in the middle, until `heal`. */
  cut?(): Promise<void> | void;
  /** Makes it refuse what is asked because that is too much, until `heal`. Speakers that are opened from now on find out. */
  limit?(): Promise<void> | void;
  /** Ends what the others began. */
  heal?(): Promise<void> | void;
  /** Opens a speaker, impatient, of which the other side is not there. */
  openUnreachable?(): Speaker;
  /** Opens a speaker, impatient, of which the other side says this in place of speech. */
  openWild?(says: Uint8Array): Promise<Speaker> | Speaker;
  /** Opens a speaker of which the other side never comes to an end, and makes as much as it can. */
  openEndless?(): Promise<Speaker> | Speaker;
  /** The connections, requests and processes that speakers have open now. */
  openCount?(): Promise<number> | number;
  /** Removes the engine, at the end of the check. */
  remove?(): Promise<void> | void;
}
