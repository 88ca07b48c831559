import type { CallerSound } from './caller-sound.ts';

/** A text that has done nothing after so long does nothing any more. */
const textMs = 3000;

/**
 * The texts that were sent to Gemini, and what is known of them. Each interrupts what the API makes at that moment, and is answered
 * itself unless the next one comes first. Which text an interruption is of, the API does not say: they are counted.
 */
export class SentTexts {
  readonly #sound: Pick<CallerSound, 'sentMs'>;
  /** Texts that have not interrupted anything yet, and whose answer has not begun. */
  #open = 0;
  /** Whether one has interrupted, so that the next answer is its own. */
  #isAnswerDue = false;
  #lastAtMs = 0;

  /** `sound`: of the caller, whose audio is the time here. */
  constructor(sound: Pick<CallerSound, 'sentMs'>) {
    this.#sound = sound;
  }

  sent(): void {
    this.#open = this.#live + 1;
    this.#lastAtMs = this.#sound.sentMs;
  }

  /** The API was interrupted. Returns whether a text has done it. */
  interrupted(): boolean {
    const isOfText = this.#live > 0;
    this.#open = Math.max(0, this.#live - 1);
    this.#isAnswerDue = isOfText;
    return isOfText;
  }

  /** An answer has begun. */
  answered(): void {
    if (!this.#isAnswerDue) this.#open = Math.max(0, this.#live - 1);
    this.#isAnswerDue = false;
  }

  get #live(): number {
    return this.#sound.sentMs - this.#lastAtMs > textMs ? 0 : this.#open;
  }
}
