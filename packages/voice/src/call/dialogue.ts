import type { AudioFormat, SpokenPart } from '@spillway/core/audio';
import { Answers } from './answers.ts';
import { Conversation, type Utterance } from './conversation.ts';
import type { SpokenWord } from './heard-text.ts';

/** What the sessions of a model have made, and what of it was heard. */
export class Dialogue {
  readonly #conversation = new Conversation();
  #answers: Answers;
  /** Of the session before, which the ear may still hear. */
  #past: Answers | undefined;

  constructor(format: AudioFormat) {
    this.#answers = new Answers(format);
  }

  /** What came of the present session. */
  get answers(): Answers {
    return this.#answers;
  }

  get soFar(): readonly Utterance[] {
    return this.#conversation.soFar;
  }

  /** Another session begins. */
  begin(format: AudioFormat): void {
    this.#past = this.#answers;
    this.#answers = new Answers(format);
  }

  /** The human said something. */
  heard(text: string): void {
    this.#conversation.heard(text);
  }

  /** The model said some more words of a part, or all of it. */
  said(part: SpokenPart, text: string, isWhole: boolean, words: readonly SpokenWord[] = []): void {
    if (isWhole) this.#conversation.said(part.itemId, { text, words, madeMs: this.#madeMs(part) });
    else this.#conversation.says(part.itemId, text);
  }

  /** Only so much of a part was heard. Returns the whole milliseconds of it, never more than came. */
  cut(part: SpokenPart, ms: number): number {
    const madeMs = this.#madeMs(part);
    const heardMs = Math.floor(Math.min(ms, madeMs));
    this.#conversation.cut(part.itemId, heardMs, madeMs);
    return heardMs;
  }

  /** No more words come: those whose end was not told are all there are. Returns them. */
  settle(): readonly { readonly itemId: string; readonly text: string }[] {
    return this.#conversation.settle().map(([itemId, text]) => {
      this.said({ itemId, contentIndex: 0 }, text, true);
      return { itemId, text };
    });
  }

  #madeMs(part: SpokenPart): number {
    return (this.#answers.knows(part) ? this.#answers : (this.#past ?? this.#answers)).cameMs(part);
  }
}
