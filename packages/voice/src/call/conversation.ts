/** Something that was said in a call. */
export interface Utterance {
  readonly role: 'caller' | 'model';
  readonly text: string;
}

/** What is kept of a conversation: an hour has fewer, and a model's memory costs money. */
const maxUtterances = 200;
const maxCharacters = 32_768;

/**
 * What was said so far, for a model that has to take over. What the human did not hear of an answer is left out, by its share:
 * which words were heard is known to some words.
 */
export class Conversation {
  #utterances: (Utterance & { readonly itemId?: string })[] = [];
  /** How much of an item was heard whose words have not come yet. */
  readonly #shares = new Map<string, number>();

  get soFar(): readonly Utterance[] {
    return this.#utterances.map(({ role, text }) => ({ role, text }));
  }

  /** The human said something. */
  heard(text: string): void {
    if (text.trim() !== '') this.#add({ role: 'caller', text });
  }

  /** The model said something. */
  said(itemId: string, text: string): void {
    const share = this.#shares.get(itemId) ?? 1;
    this.#shares.delete(itemId);
    const kept = partOf(text, share);
    if (kept !== '') this.#add({ role: 'model', text: kept, itemId });
  }

  /** Of an item of the model only a share was heard: 0 to 1. */
  cut(itemId: string, share: number): void {
    const at = this.#utterances.findIndex((one) => one.itemId === itemId);
    const said = this.#utterances[at];
    if (said === undefined) {
      this.#shares.set(itemId, share);
      const [oldest = ''] = this.#shares.keys();
      if (this.#shares.size > maxUtterances) this.#shares.delete(oldest);
      return;
    }
    const kept = partOf(said.text, share);
    this.#utterances.splice(at, 1, ...(kept === '' ? [] : [{ ...said, text: kept }]));
  }

  #add(utterance: Utterance & { readonly itemId?: string }): void {
    this.#utterances.push({ ...utterance, text: utterance.text.slice(0, maxCharacters) });
    let characters = this.#utterances.reduce((sum, { text }) => sum + text.length, 0);
    while (this.#utterances.length > maxUtterances || characters > maxCharacters)
      characters -= this.#utterances.shift()?.text.length ?? 0;
  }
}

/** The beginning of a text, to the end of a word. */
function partOf(text: string, share: number): string {
  if (share >= 1) return text;
  const end = Math.floor(text.length * share);
  const head = text.slice(0, end);
  return /\s/u.test(text.charAt(end)) ? head.trim() : head.slice(0, head.search(/\S*$/u)).trim();
}
