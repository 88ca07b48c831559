import type { FormatName } from '@spillway/core/format/format';
import { itemsOf, type JsonNode, memberOf, stringOf } from './json-nodes.ts';
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
  if (type === 'error' || isThere(memberOf(root, 'error'))) return everything;
  return closings[format](root, type);
}

type FindClosing = (root: JsonNode, type: string) => Closing | undefined;

const closings: Readonly<Record<FormatName, FindClosing>> = {
  // Each text is whole.
  conversation: () => undefined,
  'openai-chat': (root) => choicesOver(root, 'choices', 'finish_reason'),
  'openai-completions': (root) => choicesOver(root, 'choices', 'finish_reason'),
  gemini: (root) => partsOver(root) ?? choicesOver(root, 'candidates', 'finishReason'),
  'anthropic-messages': (root, type) => {
    if (type === 'message_delta' || type === 'message_stop') return everything;
    const index = memberOf(root, 'index');
    const isOver = type === 'content_block_stop' && index?.kind === 'number';
    return isOver ? { prefixes: [`content.${index.source}.`], mayGoOn: false } : undefined;
  },
  'openai-responses': (root, type) => {
    if (endings.has(type)) return everything;
    if (!type.endsWith('.done')) return undefined;
    const key = responsesKey(root, type);
    // Of an item that is over, all texts are.
    const isItem = type === 'response.output_item.done';
    return { prefixes: [isItem ? key.slice(0, key.lastIndexOf('.') + 1) : key], mayGoOn: false };
  },
};

const everything: Closing = { prefixes: [''], mayGoOn: false };

function choicesOver(root: JsonNode, list: string, reason: string): Closing | undefined {
  const over = indexed(root, list).filter(({ item }) => isReason(memberOf(item, reason)));
  if (over.length === 0) return undefined;
  return { prefixes: over.map(({ index }) => `${list}.${index}.`), mayGoOn: true };
}

/** The parts of a reply of Gemini are in order: a text is over where code, a picture or a whole call follows. */
function partsOver(root: JsonNode): Closing | undefined {
  const over = indexed(root, 'candidates').filter(({ item }) =>
    itemsOf(memberOf(memberOf(item, 'content'), 'parts')).some(
      (part) =>
        memberOf(part, 'text') === undefined &&
        memberOf(memberOf(part, 'functionCall'), 'partialArgs') === undefined,
    ),
  );
  if (over.length === 0) return undefined;
  return { prefixes: over.map(({ index }) => `candidates.${index}.`), mayGoOn: false };
}

/**
 * Whether a text is over because one of another kind goes on in the same choice: what is thought before what is said,
 * and the parts of Gemini. Otherwise what is held back of it would come too late for those who show both.
 */
export function isOvertaken(format: FormatName, key: string, by: string): boolean {
  if (format !== 'openai-chat' && format !== 'gemini') return false;
  const [, index, kind = ''] = key.split('.');
  const [, otherIndex, otherKind = ''] = by.split('.');
  if (index !== otherIndex) return false;
  return format === 'gemini' ? kind !== otherKind : isThought(kind) && !isThought(otherKind);
}

function isThought(kind: string): boolean {
  return /^(?:reasoning|thinking)/.test(kind);
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
