import type { FormatName } from '@spillway/core/format/format';
import { type JsonNode, memberOf, stringOf } from './json-nodes.ts';
import { indexed, responsesKey } from './text-slots.ts';

/** The texts that an event says are over. */
export interface Closing {
  /** The beginnings of their keys; `''`: all. */
  readonly prefixes: readonly string[];
  /** Whether more of them may follow nevertheless. Some providers end a choice with each event. */
  readonly mayGoOn: boolean;
}

/** Tells which texts an event ends; `undefined`: none. What was held back of them has to stand before it. */
export function closingOf(format: FormatName, root: JsonNode): Closing | undefined {
  const type = stringOf(memberOf(root, 'type')) ?? '';
  if (type === 'error' || isThere(memberOf(root, 'error'))) return { prefixes: [''], mayGoOn: false };
  switch (format) {
    case 'openai-chat':
    case 'openai-completions':
      return choicesOver(root, 'choices', 'finish_reason');
    case 'gemini':
      return choicesOver(root, 'candidates', 'finishReason');
    case 'anthropic-messages': {
      if (type === 'message_delta' || type === 'message_stop') return { prefixes: [''], mayGoOn: false };
      const index = memberOf(root, 'index');
      const isOver = type === 'content_block_stop' && index?.kind === 'number';
      return isOver ? { prefixes: [`content.${index.source}.`], mayGoOn: false } : undefined;
    }
    case 'openai-responses': {
      if (endings.has(type)) return { prefixes: [''], mayGoOn: false };
      if (!type.endsWith('.done')) return undefined;
      const key = responsesKey(root, type);
      // Of an item that is over, all texts are.
      const isItem = type === 'response.output_item.done';
      return { prefixes: [isItem ? key.slice(0, key.lastIndexOf('.') + 1) : key], mayGoOn: false };
    }
  }
}

function choicesOver(root: JsonNode, list: string, reason: string): Closing | undefined {
  const over = indexed(root, list).filter(({ item }) => isReason(memberOf(item, reason)));
  if (over.length === 0) return undefined;
  return { prefixes: over.map(({ index }) => `${list}.${index}.`), mayGoOn: true };
}

function isReason(node: JsonNode | undefined): boolean {
  if (node?.kind === 'string') return node.value !== '' && node.value !== 'null';
  return node?.kind === 'number';
}

function isThere(node: JsonNode | undefined): boolean {
  if (node?.kind === 'string') return node.value !== '';
  return node !== undefined && node.kind !== 'literal' && node.kind !== 'number';
}

const endings = new Set(
  ['completed', 'incomplete', 'cancelled', 'failed', 'done'].map((state) => `response.${state}`),
);
