import type { FormatName } from '@spillway/core/format/format';
import { itemsOf, type JsonNode, type JsonString, memberOf, stringOf } from './json-nodes.ts';
import { isTrue } from './text-slots.ts';

/** A part of events that a tap may leave out while it lags. */
export type ShedPart = 'logprobs' | 'reasoning' | 'usage-details';

/** All parts, in the order in which records name them. */
export const shedParts: readonly ShedPart[] = ['logprobs', 'reasoning', 'usage-details'];

/** What is to be left out of one event. */
export interface Shed {
  /** The parts that are in the event. */
  readonly parts: Set<ShedPart>;
  /** The values that go, with their keys. */
  readonly removed: Set<JsonNode>;
  /** The strings that stay as `""`, because the official SDK looks for them. */
  readonly emptied: Set<JsonString>;
  /** Whether nothing but the parts is in the event, so that it goes as a whole. */
  isWhole: boolean;
}

/** Finds the parts in an event. What is left is an event that the official SDK of the format reads. */
export function findShed(format: FormatName, root: JsonNode, parts: ReadonlySet<ShedPart>): Shed {
  const shed: Shed = { parts: new Set(), removed: new Set(), emptied: new Set(), isWhole: false };
  const remove = (part: ShedPart, node: JsonNode | undefined): void => {
    if (node === undefined || (node.kind !== 'list' && node.kind !== 'object' && part !== 'reasoning'))
      return;
    shed.parts.add(part);
    shed.removed.add(node);
  };
  if (parts.has('logprobs')) for (const node of logprobsOf(format, root)) remove('logprobs', node);
  if (parts.has('usage-details')) {
    for (const usage of usagesOf(format, root)) {
      // Running totals are numbers; how they are made up is in objects and lists.
      if (usage?.kind === 'object') for (const { value } of usage.members) remove('usage-details', value);
    }
  }
  if (parts.has('reasoning')) reasoners[format](root, shed, (node) => remove('reasoning', node));
  return shed;
}

/** The log probabilities in an event: lists and objects of the text's tokens. Empty lists stay. */
export function logprobsOf(format: FormatName, root: JsonNode): JsonNode[] {
  const found = logprobPaths[format].flatMap((path) => at(root, path));
  return found.filter((node) => (node.kind === 'list' && node.items.length > 0) || node.kind === 'object');
}

/** `*`: each item of a list. */
const logprobPaths: Readonly<Record<FormatName, readonly (readonly string[])[]>> = {
  'openai-chat': [['choices', '*', 'logprobs']],
  'openai-completions': [['choices', '*', 'logprobs']],
  'openai-responses': [
    ['logprobs'],
    ['part', 'logprobs'],
    ['item', 'content', '*', 'logprobs'],
    ['response', 'output', '*', 'content', '*', 'logprobs'],
  ],
  'anthropic-messages': [],
  conversation: [],
  gemini: [['candidates', '*', 'logprobsResult']],
};

function usagesOf(format: FormatName, root: JsonNode): (JsonNode | undefined)[] {
  if (format === 'gemini') return [memberOf(root, 'usageMetadata')];
  const inner = memberOf(root, format === 'openai-responses' ? 'response' : 'message');
  return [memberOf(root, 'usage'), memberOf(inner, 'usage')];
}

type FindReasoning = (root: JsonNode, shed: Shed, remove: (node: JsonNode | undefined) => void) => void;

const chatReasoning = ['reasoning', 'reasoning_content', 'reasoning_details', 'thinking_blocks'];

const reasoners: Readonly<Record<FormatName, FindReasoning>> = {
  'openai-chat': (root, shed, remove) => {
    for (const choice of itemsOf(memberOf(root, 'choices'))) {
      const delta = memberOf(choice, 'delta');
      for (const name of chatReasoning) {
        const node = memberOf(delta, name);
        if (node?.kind !== 'literal') remove(node);
      }
    }
    shed.isWhole =
      shed.parts.has('reasoning') &&
      isNothing(memberOf(root, 'usage')) &&
      itemsOf(memberOf(root, 'choices')).every(
        (choice) =>
          isNothing(memberOf(choice, 'finish_reason')) && isBare(memberOf(choice, 'delta'), shed.removed),
      );
  },
  'openai-completions': () => undefined,
  conversation: () => undefined,
  'openai-responses': (root, shed, remove) => {
    const type = stringOf(memberOf(root, 'type')) ?? '';
    const isReasoning = type.startsWith('response.reasoning');
    if (isReasoning && type.endsWith('.delta')) {
      shed.parts.add('reasoning');
      shed.isWhole = true;
      return;
    }
    if (isReasoning) empty(root, 'text', shed);
    const parts = [memberOf(root, 'part'), memberOf(root, 'item'), ...at(root, ['response', 'output', '*'])];
    for (const part of parts) {
      const kind = stringOf(memberOf(part, 'type')) ?? '';
      if (!kind.startsWith('reasoning') && kind !== 'summary_text') continue;
      empty(part, 'text', shed);
      for (const list of ['summary', 'content'])
        for (const text of itemsOf(memberOf(part, list))) empty(text, 'text', shed);
      const encrypted = memberOf(part, 'encrypted_content');
      if (encrypted?.kind === 'string') remove(encrypted);
    }
  },
  'anthropic-messages': (root, shed) => {
    const type = stringOf(memberOf(memberOf(root, 'delta'), 'type'));
    // The block's beginning and end stay: blocks are counted.
    if (type === 'thinking_delta' || type === 'signature_delta') {
      shed.parts.add('reasoning');
      shed.isWhole = true;
    }
    const block = memberOf(root, 'content_block');
    for (const name of ['thinking', 'signature', 'data']) empty(block, name, shed);
  },
  gemini: (root, shed, remove) => {
    const candidates = itemsOf(memberOf(root, 'candidates'));
    let isWhole = candidates.length > 0;
    for (const candidate of candidates) {
      const parts = itemsOf(memberOf(memberOf(candidate, 'content'), 'parts'));
      for (const part of parts) {
        if (isTrue(memberOf(part, 'thought'))) remove(part);
        else remove(memberOf(part, 'thoughtSignature'));
      }
      isWhole &&=
        isNothing(memberOf(candidate, 'finishReason')) && parts.every((part) => shed.removed.has(part));
    }
    // Running totals come again with the next event.
    shed.isWhole = isWhole && shed.parts.has('reasoning');
  },
};

function empty(node: JsonNode | undefined, name: string, shed: Shed): void {
  const text = memberOf(node, name);
  if (text?.kind !== 'string' || text.value === '') return;
  shed.parts.add('reasoning');
  shed.emptied.add(text);
}

/** Whether a value is absent, `null` or an empty text. */
function isNothing(node: JsonNode | undefined): boolean {
  if (node?.kind === 'string') return node.value === '';
  return node === undefined || (node.kind === 'literal' && node.source === 'null');
}

/** Whether nothing is left of an object when some of its values have gone. */
function isBare(node: JsonNode | undefined, removed: ReadonlySet<JsonNode>): boolean {
  if (node?.kind !== 'object') return true;
  return node.members.every(({ value }) => removed.has(value) || isNothing(value));
}

/** The values at the end of a path. */
function at(root: JsonNode, path: readonly string[]): JsonNode[] {
  let nodes: JsonNode[] = [root];
  for (const name of path) {
    nodes = nodes.flatMap((node) => {
      if (name === '*') return [...itemsOf(node)];
      const next = memberOf(node, name);
      return next === undefined ? [] : [next];
    });
  }
  return nodes;
}
