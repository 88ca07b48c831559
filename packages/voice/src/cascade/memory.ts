import { heardText, type SpokenText, type SpokenWord } from '../call/heard-text.ts';
import type { Utterance } from '../call/conversation.ts';
import type { AskedTool, ReasonMessage } from './reasoner.ts';

/** The longest conversation that a model is given: an hour has less, and each answer pays for all of it. */
const maxEntries = 200;
const maxCharacters = 32_768;

/** A sentence of an answer, while it is spoken and after. */
export interface Sentence extends SpokenText {
  readonly itemId: string;
  text: string;
  madeMs: number;
  readonly words: SpokenWord[];
}

interface Answer {
  readonly role: 'assistant';
  readonly id: string;
  readonly sentences: Sentence[];
  readonly tools: AskedTool[];
}

type Entry =
  | Answer
  | { readonly role: 'user'; readonly text: string }
  | { readonly role: 'tool'; readonly callId: string; readonly output: string };

/** The conversation as the model of text is to know it: of its answers what was heard. */
export class Memory {
  #entries: Entry[] = [];
  /** How much was heard of sentences that were not heard to their end, in milliseconds; 0: nothing. */
  readonly #heardMs = new Map<string, number>();

  constructor(past: readonly Utterance[]) {
    for (const [at, { role, text }] of past.entries())
      if (role === 'caller') this.heard(text);
      else this.says(`past-${at}`, { itemId: `past-${at}`, text, madeMs: 0, words: [] });
  }

  /** Whether the newest is not the model's: an answer is due to it. */
  get isOwed(): boolean {
    const last = this.#entries.findLast((entry) => entry.role !== 'assistant' || this.#textOf(entry) !== '');
    return last !== undefined && last.role !== 'assistant';
  }

  /** The human's side says something. */
  heard(text: string): void {
    this.#add({ role: 'user', text: text.slice(0, maxCharacters) });
  }

  /** An answer has a sentence, which is spoken from now on. */
  says(answerId: string, sentence: Sentence): void {
    this.#answer(answerId).sentences.push(sentence);
  }

  /** An answer asks for a tool. */
  asks(answerId: string, tool: AskedTool): void {
    this.#answer(answerId).tools.push(tool);
  }

  /** A tool has answered. */
  result(callId: string, output: string): void {
    this.#add({ role: 'tool', callId, output: output.slice(0, maxCharacters) });
  }

  /** Only so much of a sentence was heard. */
  cut(itemId: string, heardMs: number): void {
    const isKnown = this.#entries.some(
      (entry) => entry.role === 'assistant' && entry.sentences.some((sentence) => sentence.itemId === itemId),
    );
    if (isKnown) this.#heardMs.set(itemId, heardMs);
  }

  /** The messages for a model: each call of a tool has its result right behind it, as APIs want it, and nothing is empty. */
  get messages(): readonly ReasonMessage[] {
    const results = this.#entries.filter((entry) => entry.role === 'tool');
    const messages: ReasonMessage[] = [];
    for (const entry of this.#entries) {
      if (entry.role === 'assistant') {
        const tools: AskedTool[] = [];
        const given: ReasonMessage[] = [];
        for (const tool of entry.tools) {
          const at = results.findIndex(({ callId }) => callId === tool.callId);
          if (at === -1) continue;
          tools.push(tool);
          given.push(...results.splice(at, 1));
        }
        const text = this.#textOf(entry);
        if (text !== '' || tools.length > 0) messages.push({ role: 'assistant', text, tools }, ...given);
      } else if (entry.role === 'user') messages.push(entry);
    }
    return messages;
  }

  #textOf({ sentences }: Answer): string {
    return sentences
      .map((sentence) => {
        const heardMs = this.#heardMs.get(sentence.itemId);
        if (heardMs === undefined) return sentence.text;
        return heardMs <= 0 ? '' : heardText(sentence, heardMs);
      })
      .filter((text) => text !== '')
      .join(' ');
  }

  #answer(id: string): Answer {
    const known = this.#entries.find((entry) => entry.role === 'assistant' && entry.id === id);
    if (known?.role === 'assistant') return known;
    const answer: Answer = { role: 'assistant', id, sentences: [], tools: [] };
    this.#add(answer);
    return answer;
  }

  #add(entry: Entry): void {
    this.#entries.push(entry);
    let characters = this.#entries.reduce((sum, one) => sum + sizeOf(one), 0);
    while (this.#entries.length > maxEntries || (characters > maxCharacters && this.#entries.length > 1)) {
      const [oldest] = this.#entries.splice(0, 1);
      if (oldest === undefined) break;
      characters -= sizeOf(oldest);
      if (oldest.role === 'assistant')
        for (const { itemId } of oldest.sentences) this.#heardMs.delete(itemId);
    }
  }
}

/** In characters. */
function sizeOf(entry: Entry): number {
  if (entry.role === 'user') return entry.text.length;
  if (entry.role === 'tool') return entry.output.length;
  const said = entry.sentences.reduce((sum, { text }) => sum + text.length, 0);
  return entry.tools.reduce((sum, { input }) => sum + input.length, said);
}
