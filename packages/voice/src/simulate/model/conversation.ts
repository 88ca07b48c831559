import { msOfBytes, type AudioFormat } from '@spillway/core/audio';
import { Refusal } from './refusal.ts';

/** One entry of a conversation. */
export interface ConversationItem {
  readonly id: string;
  /** As the API shows it, without its words. */
  readonly shape: Readonly<Record<string, unknown>>;
  /** Who said it: the model's own audio can be truncated, and nothing else. */
  readonly speaker: 'human' | 'model' | 'nobody';
  /** The words of it. Of the model's: those up to where it was made, or truncated. */
  text: string;
  /** What there is of the model's audio. */
  bytes: number;
}

/** The most items that are kept, and the most characters in all of them: the real model forgets the oldest ones, too. */
const maxItems = 1000;
const maxCharacters = 16_777_216;

/** What a model and a human have said. */
export class Conversation {
  readonly #items = new Map<string, ConversationItem>();
  #characters = 0;

  /** What the model believes that it has said, item by item. */
  get said(): string[] {
    return [...this.#items.values()].filter(({ speaker }) => speaker === 'model').map(({ text }) => text);
  }

  /** The id of the last item; `null` if there is none. */
  get lastId(): string | null {
    return [...this.#items.keys()].at(-1) ?? null;
  }

  get(id: string): ConversationItem | undefined {
    return this.#items.get(id);
  }

  add(item: ConversationItem): void {
    if (this.#items.has(item.id))
      throw new Refusal(
        'item_create_duplicate_item_id',
        `An item with id '${item.id}' already exists.`,
        'item.id',
      );
    this.#items.set(item.id, item);
    this.#characters += sizeOf(item);
    for (const [id, oldest] of this.#items) {
      if (this.#items.size <= maxItems && this.#characters <= maxCharacters) break;
      this.#forget(id, oldest);
    }
  }

  /** Whether a tool was asked for by this id. */
  hasCall(callId: string): boolean {
    return [...this.#items.values()].some(
      ({ shape }) => shape['type'] === 'function_call' && shape['call_id'] === callId,
    );
  }

  /** Forgets an item. */
  remove(id: string): void {
    const item = this.#items.get(id);
    if (item === undefined)
      throw new Refusal(
        'item_delete_invalid_item_id',
        `Error deleting item: the item with id '${id}' does not exist.`,
        'item_id',
      );
    this.#forget(id, item);
  }

  /** Forgets what of an item lies beyond `endMs`. Returns how long it was. */
  truncate(id: string, contentIndex: number, endMs: number, format: AudioFormat): number {
    const item = this.#items.get(id);
    if (item === undefined)
      throw new Refusal(
        'item_truncate_invalid_item_id',
        `Error truncating item: the item with id '${id}' does not exist.`,
        'item_id',
      );
    // Of an item that has no audio yet, and at 0: there is nothing to be kept, and it is to be deleted.
    if (item.speaker !== 'model' || item.bytes === 0 || endMs === 0)
      throw new Refusal('unsupported_content_type', 'Only model output audio messages can be truncated.');
    if (contentIndex !== 0)
      throw new Refusal(
        'invalid_value',
        `Invalid value: ${contentIndex}. The item has one part of audio, 0.`,
        'content_index',
      );
    if (endMs < 0)
      throw new Refusal(
        'integer_below_min_value',
        `Invalid 'audio_end_ms': expected a value >= 0, but got ${endMs} instead.`,
        'audio_end_ms',
      );
    const madeMs = msOfBytes(format, item.bytes);
    if (endMs > madeMs)
      throw new Refusal(
        'invalid_value',
        `Audio content of ${Math.floor(madeMs)}ms is already shorter than ${endMs}ms`,
        'audio_end_ms',
      );
    item.text = wordsUpTo(item.text, endMs / madeMs);
    item.bytes = Math.round((item.bytes * endMs) / madeMs);
    return madeMs;
  }

  #forget(id: string, item: ConversationItem): void {
    this.#items.delete(id);
    this.#characters -= sizeOf(item);
  }
}

/** What an item holds of its client's text, in characters. The model's own words are few. */
function sizeOf({ shape }: ConversationItem): number {
  return JSON.stringify(shape).length;
}

/** The whole words of the first part of a text. `share`: 0 to 1. */
export function wordsUpTo(text: string, share: number): string {
  const words = text.split(' ');
  return words.slice(0, Math.floor(words.length * share)).join(' ');
}
