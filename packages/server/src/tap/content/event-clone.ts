import type { JsonMember, JsonNode } from './json-nodes.ts';
import { memberOf, stringOf } from './json-nodes.ts';
import { ownCopy } from './redactor.ts';
import { type EventText, writeEvent } from './sse-text.ts';
import type { TextSlot } from './text-slots.ts';

/** An event that carries nothing but text for one slot. */
export interface EventClone {
  readonly head: string;
  readonly tail: string;
  /** Whether the text stands in JSON. Otherwise it is the whole of the event's data. */
  readonly isJson: boolean;
}

/** Writes the event that carries a text. */
export function writeClone({ head, isJson, tail }: EventClone, text: string): string {
  return head + (isJson ? JSON.stringify(text) : text.replaceAll('\n', '\ndata: ')) + tail;
}

/** An event like this one whose data is no JSON. */
export function cloneRaw(event: EventText): EventClone {
  return { head: 'data: ', tail: event.lineEnd + event.end, isJson: false };
}

/**
 * An event like this one: of the values that its text lies in those that are repeated in each event, such as the id of
 * the reply and the index of the choice. `written`: gives a key or value as it is kept.
 */
export function cloneEvent(
  event: EventText,
  slot: TextSlot,
  written: (node: JsonNode) => string,
): EventClone {
  const name = event.others.split(/\r\n|\r|\n/).find((line) => line.startsWith('event:'));
  const { head, tail, type } = isBlock(slot) ? blockParts(slot, written) : parts(slot, written);
  const others = name === undefined ? '' : (type === undefined ? name : `event: ${type}`) + event.lineEnd;
  const whole = writeEvent(event, others, head + mark + tail);
  const at = whole.lastIndexOf(mark);
  return { head: ownCopy(whole.slice(0, at)), tail: ownCopy(whole.slice(at + mark.length)), isJson: true };
}

/** No JSON has this character outside its strings, and in strings it is escaped. */
const mark = '\u0000';

interface Parts {
  readonly head: string;
  readonly tail: string;
  /** The event's name, if it is another one. */
  readonly type?: string;
}

/** In a delta, all other values are said once. */
const repeatedInDelta = new Set(['index', 'type', 'thought', 'jsonPath']);
const deltas = new Set(['delta', 'parts']);

function parts({ node, path }: TextSlot, written: (node: JsonNode) => string): Parts {
  let head = '';
  let tail = '';
  let isInDelta = false;
  for (const [depth, value] of path.entries()) {
    const next = path[depth + 1] ?? node;
    if (value.kind === 'list') {
      head += '[';
      tail = `]${tail}`;
    }
    if (value.kind !== 'object') continue;
    const place = value.members.findIndex((member) => member.value === next);
    const isRepeated = (member: JsonMember): boolean => repeats(member, isInDelta);
    const write = ({ key, value: of }: JsonMember): string => `${written(key)}:${written(of)}`;
    const before = value.members.slice(0, place).filter(isRepeated).map(write);
    const after = value.members
      .slice(place + 1)
      .filter(isRepeated)
      .map(write);
    const own = value.members[place]?.key;
    head += `{${[...before, own === undefined ? '' : written(own)].join(',')}:`;
    tail = `${after.map((member) => `,${member}`).join('')}}${tail}`;
    isInDelta ||= deltas.has(own?.value ?? '');
  }
  return { head, tail };
}

function repeats({ key, value }: JsonMember, isInDelta: boolean): boolean {
  if (value.kind === 'list' || value.kind === 'object') return false;
  if (isInDelta) return repeatedInDelta.has(key.value);
  // The reason why a choice ended is said once, and before that it is null.
  return key.value !== 'obfuscation' && (value.kind === 'literal' || !/reason/i.test(key.value));
}

/** Whether the text begins a block of Anthropic's Messages. */
function isBlock({ path }: TextSlot): boolean {
  return stringOf(memberOf(path[0], 'type')) === 'content_block_start';
}

/** What adds to a block is another event than what begins it. */
function blockParts({ node, path }: TextSlot, written: (node: JsonNode) => string): Parts {
  const [root, block] = path;
  const name =
    block?.kind === 'object' ? block.members.find(({ value }) => value === node)?.key.value : undefined;
  const index = memberOf(root, 'index');
  const delta = JSON.stringify({ type: `${name}_delta`, [name ?? 'text']: '' });
  return {
    head: `{"type":"content_block_delta","index":${index === undefined ? 0 : written(index)},"delta":${delta.slice(0, -3)}`,
    tail: '}}',
    type: 'content_block_delta',
  };
}
