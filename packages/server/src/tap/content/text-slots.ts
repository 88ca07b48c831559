import type { FormatName } from '@spillway/core/format/format';
import { itemsOf, type JsonNode, type JsonString, memberOf, stringOf } from './json-nodes.ts';

/** A string of an event that adds up with those of other events. */
export interface TextSlot {
  /** Its place: what has the same key is one text. Such as `choices.0.content`, `choices.0.tool_calls.1.arguments`. */
  readonly key: string;
  readonly node: JsonString;
  /** The values that it lies in, from the outermost one. */
  readonly path: readonly JsonNode[];
  /** Whether it is something that is said. Of others it is only not known that they are whole. */
  readonly isText: boolean;
  /** Whether the text is JSON: the arguments of a call. */
  readonly isJson: boolean;
  /** Whether the event says that no more comes. */
  readonly isLast: boolean;
}

/** Finds the slots of an event in their order. */
export type FindSlots = (root: JsonNode) => TextSlot[];

/** How each format says what adds up. More than its rule for merging knows: also in events that are never merged. */
export const slotFinders: Readonly<Record<FormatName, FindSlots>> = {
  'openai-chat': (root) =>
    indexed(root, 'choices').flatMap(({ index, item, list }) => {
      const delta = memberOf(item, 'delta');
      return delta === undefined ? [] : deltaSlots(delta, `choices.${index}`, [root, list, item, delta]);
    }),
  'openai-completions': (root) =>
    indexed(root, 'choices').flatMap(({ index, item, list }) => {
      const node = memberOf(item, 'text');
      return node?.kind === 'string' ? [slot(`choices.${index}.text`, node, [root, list, item])] : [];
    }),
  'openai-responses': responsesSlots,
  'anthropic-messages': anthropicSlots,
  conversation: conversationSlots,
  gemini: (root) =>
    indexed(root, 'candidates').flatMap(({ index, item, list }) => {
      const content = memberOf(item, 'content');
      const parts = memberOf(content, 'parts');
      if (content === undefined || parts === undefined) return [];
      return itemsOf(parts).flatMap((part) =>
        partSlots(part, `candidates.${index}`, [root, list, item, content, parts, part]),
      );
    }),
};

/** The strings of a delta that are whole, or that must not be moved to another event. */
const wholeNames = new Set(['role', 'id', 'type', 'name', 'data', 'signature', 'encrypted_content']);
/** Strings that are said, by their key. */
const textNames = new Set([
  'content',
  'refusal',
  'text',
  'summary',
  'transcript',
  'arguments',
  'input',
  'partial_json',
  'reasoning',
  'reasoning_content',
  'thinking',
]);
/** Where a delta of Chat Completions has texts deeper inside, in any dialect. */
const containerNames = new Set([
  'content',
  'function_call',
  'tool_calls',
  'function',
  'custom',
  'audio',
  'reasoning_details',
  'thinking_blocks',
  'thinking',
]);
/** Containers that a key does not name. */
const unnamed = new Set(['function', 'custom']);

/** The strings of a delta that add up. `isDeep`: inside a value of the delta. */
export function deltaSlots(
  node: JsonNode,
  prefix: string,
  path: readonly JsonNode[],
  isDeep = false,
): TextSlot[] {
  if (node.kind !== 'object') return [];
  return node.members.flatMap(({ key: { value: name }, value }) => {
    if (value.kind === 'string') {
      if (wholeNames.has(name) || (isDeep && !textNames.has(name))) return [];
      return [slot(`${prefix}.${name}`, value, path, textNames.has(name))];
    }
    if (!containerNames.has(name)) return [];
    if (value.kind === 'list') {
      return value.items.flatMap((item, place) => {
        // Calls are told apart by their index. All other lists are parts of one text, and some number each part.
        const of = name === 'tool_calls' ? `${name}.${indexOf(item) ?? place}` : name;
        return deltaSlots(item, `${prefix}.${of}`, [...path, value, item], true);
      });
    }
    return deltaSlots(value, unnamed.has(name) ? prefix : `${prefix}.${name}`, [...path, value], true);
  });
}

/** The kinds of Base64 that are sent in deltas. */
const notText = /audio\.delta$/;

/** What is said in an event of a conversation, by its kind. */
const conversationTexts: Readonly<Record<string, readonly string[]>> = {
  heard: ['text'],
  said: ['text'],
  tool_called: ['input'],
  tool_answered: ['output'],
};

/** Each text of a conversation is whole, and has its number for a place: so they stay in order. */
function conversationSlots(root: JsonNode): TextSlot[] {
  const type = stringOf(memberOf(root, 'type')) ?? '';
  return (conversationTexts[type] ?? []).flatMap((name) => {
    const node = memberOf(root, name);
    if (node?.kind !== 'string') return [];
    const place = `${numberAt(root, 'n') ?? '0'}.${type}`;
    return [{ ...slot(place, node, [root], true, name === 'input'), isLast: true }];
  });
}

function responsesSlots(root: JsonNode): TextSlot[] {
  const type = stringOf(memberOf(root, 'type')) ?? '';
  if (!type.endsWith('.delta') || notText.test(type)) return [];
  const delta = memberOf(root, 'delta');
  const key = responsesKey(root, type);
  if (delta?.kind === 'string') return [slot(key, delta, [root], true, /arguments/.test(type))];
  return delta === undefined ? [] : deltaSlots(delta, key, [root, delta]);
}

/** The key of a text of Responses, from an event that adds to it or that says that it is whole. */
export function responsesKey(root: JsonNode, type: string): string {
  const place = ['content_index', 'summary_index', 'command_index'].map((name) => numberAt(root, name));
  const output = numberAt(root, 'output_index') ?? stringOf(memberOf(root, 'item_id')) ?? '0';
  const part = place.find((index) => index !== undefined);
  const kind = type.replace(/^response\./, '').replace(/\.(?:delta|done)$/, '');
  return ['output', output, ...(part === undefined ? [] : [part]), kind].join('.');
}

function anthropicSlots(root: JsonNode): TextSlot[] {
  const type = stringOf(memberOf(root, 'type'));
  const index = numberAt(root, 'index') ?? '0';
  // A block may begin with some of its text.
  const isStart = type === 'content_block_start';
  const node = memberOf(root, isStart ? 'content_block' : 'delta');
  if (node?.kind !== 'object' || (!isStart && type !== 'content_block_delta')) return [];
  const kind = stringOf(memberOf(node, 'type')) ?? '';
  return node.members.flatMap(({ key: { value: name }, value }) => {
    // The other strings of a block that begins are whole.
    const isWhole = isStart ? name !== 'text' && name !== 'thinking' : wholeNames.has(name);
    if (value.kind !== 'string' || isWhole) return [];
    const isKnown = isStart || kind === `${name}_delta` || kind === 'input_json_delta';
    const key = `content.${index}.${isKnown ? name : `${kind}.${name}`}`;
    return [slot(key, value, [root, node], isKnown && textNames.has(name), name === 'partial_json')];
  });
}

function partSlots(part: JsonNode, prefix: string, path: readonly JsonNode[]): TextSlot[] {
  const node = memberOf(part, 'text');
  if (node?.kind === 'string') {
    return [slot(`${prefix}.${isTrue(memberOf(part, 'thought')) ? 'thought' : 'text'}`, node, path)];
  }
  // The arguments of a call, where these are streamed.
  const call = memberOf(part, 'functionCall');
  const args = memberOf(call, 'partialArgs');
  if (call === undefined || args === undefined) return [];
  return itemsOf(args).flatMap((arg) => {
    const value = memberOf(arg, 'stringValue');
    if (value?.kind !== 'string') return [];
    const place = stringOf(memberOf(arg, 'jsonPath')) ?? '';
    const own = slot(`${prefix}.call.${place}`, value, [...path, call, args, arg], false, false);
    return [{ ...own, isLast: !isTrue(memberOf(arg, 'willContinue')) }];
  });
}

function slot(
  key: string,
  node: JsonString,
  path: readonly JsonNode[],
  isText = true,
  isJson = key.endsWith('.arguments'),
): TextSlot {
  return { key, node, path, isText, isJson, isLast: false };
}

/** The items of a list in an object, with the index that each of them says, or its place. */
export function indexed(
  root: JsonNode,
  name: string,
): { readonly index: string; readonly item: JsonNode; readonly list: JsonNode }[] {
  const list = memberOf(root, name);
  if (list === undefined) return [];
  return itemsOf(list).map((item, place) => ({ index: indexOf(item) ?? String(place), item, list }));
}

function indexOf(node: JsonNode): string | undefined {
  return numberAt(node, 'index');
}

function numberAt(node: JsonNode, key: string): string | undefined {
  const value = memberOf(node, key);
  return value?.kind === 'number' ? value.source : undefined;
}

/** Whether a value is `true`. */
export function isTrue(node: JsonNode | undefined): boolean {
  return node?.kind === 'literal' && node.source === 'true';
}
