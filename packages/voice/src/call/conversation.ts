import { setBounded } from './set-bounded.ts';

/** Something that was said in a call. */
export interface Utterance {
  readonly role: 'caller' | 'model';
  readonly text: string;
}

interface Kept extends Utterance {
  readonly itemId?: string;
}

/** What is kept of a conversation: an hour has fewer, and a model's memory costs money. */
const maxUtterances = 200;
const maxCharacters = 32_768;

/**
 * What was said so far. What the human did not hear of an answer is left out, by its share: which words were heard is known to
 * some words.
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

  /** The model said all of an item. `madeMs`: how long that is. */
  said(itemId: string, text: string, madeMs: number): void {
    this.#partial.delete(itemId);
    const heardMs = this.#heardMs.get(itemId);
    const kept = heardMs === undefined ? text : partOf(text, heardMs / madeMs);
    if (kept.trim() !== '') this.#add({ role: 'model', text: kept, itemId });
  }

  /** Of an item of the model only so much was heard. */
  cut(itemId: string, heardMs: number, madeMs: number): void {
    setBounded(this.#heardMs, itemId, heardMs, maxUtterances);
    const at = this.#utterances.findIndex((one) => one.itemId === itemId);
    const said = this.#utterances[at];
    if (said === undefined) return;
    const text = partOf(said.text, heardMs / madeMs);
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

/** The beginning of a text, to the end of a word. */
function partOf(text: string, share: number): string {
  // An item without any sound has no share.
  if (!(share < 1)) return text;
  const end = Math.floor(text.length * share);
  const head = text.slice(0, end);
  return /\s/u.test(text.charAt(end)) ? head.trim() : head.slice(0, head.search(/\S*$/u)).trim();
}
