import { heardText, type SpokenText, type SpokenWord } from './heard-text.ts';
import { setBounded } from './set-bounded.ts';

/** Something that was said in a call. */
export interface Utterance {
  readonly role: 'caller' | 'model';
  readonly text: string;
}

interface Kept extends Utterance {
  readonly itemId?: string;
  readonly words?: readonly SpokenWord[];
}

/** What is kept of a conversation: an hour has fewer, and a model's memory costs money. */
const maxUtterances = 200;
const maxCharacters = 32_768;

/**
 * What was said so far. What the human did not hear of an answer is left out: to the word where the words' times are known, and
 * else by its share, which is right to some words.
 */
export class Conversation {
  readonly #utterances: Kept[] = [];
  /** Words of items of which more may come. */
  readonly #partial = new Map<string, string>();
  /** How much of an item was heard, in milliseconds, where that is less than all of it. */
  readonly #heardMs = new Map<string, number>();

  get soFar(): readonly Utterance[] {
    return this.#utterances.map(({ role, text }) => ({ role, text }));
  }

  /** The human said something. */
  heard(text: string): void {
    if (text.trim() !== '') this.#add({ role: 'caller', text });
  }

  /** The model says some words of an item. */
  says(itemId: string, words: string): void {
    const text = (this.#partial.get(itemId) ?? '') + words;
    setBounded(this.#partial, itemId, text.slice(0, maxCharacters), maxUtterances);
  }

  /** The model said all of an item. */
  said(itemId: string, spoken: SpokenText): void {
    this.#partial.delete(itemId);
    const heardMs = this.#heardMs.get(itemId);
    const kept = heardMs === undefined ? spoken.text : heardText(spoken, heardMs);
    if (kept.trim() !== '') this.#add({ role: 'model', text: kept, itemId, words: spoken.words });
  }

  /** Of an item of the model only so much was heard. */
  cut(itemId: string, heardMs: number, madeMs: number): void {
    setBounded(this.#heardMs, itemId, heardMs, maxUtterances);
    const at = this.#utterances.findIndex((one) => one.itemId === itemId);
    const said = this.#utterances[at];
    if (said === undefined) return;
    const text = heardText({ text: said.text, madeMs, words: said.words ?? [] }, heardMs);
    this.#utterances.splice(at, 1, ...(text === '' ? [] : [{ ...said, text }]));
  }

  /** No more words come of any item: returns those that were not told to be all. */
  settle(): readonly (readonly [itemId: string, text: string])[] {
    return [...this.#partial];
  }

  #add(utterance: Kept): void {
    this.#utterances.push({ ...utterance, text: utterance.text.slice(0, maxCharacters) });
    let characters = this.#utterances.reduce((sum, { text }) => sum + text.length, 0);
    while (this.#utterances.length > maxUtterances || characters > maxCharacters)
      characters -= this.#utterances.shift()?.text.length ?? 0;
  }
}
