import { itemsOf, type JsonNode, memberOf, stringOf } from './json-nodes.ts';
import type { RedactionRule } from './redaction-rule.ts';
import { redactText } from './redactor.ts';
import { deltaSlots, indexed, slotFinders, type TextSlot } from './text-slots.ts';

/** What is said in an answer that is one JSON value, with the keys that the same answer has as a stream. */
export function bodyTexts(
  root: JsonNode,
  rules: readonly RedactionRule[],
): { readonly text: Readonly<Record<string, string>>; readonly redacted: number } {
  // Gemini's streams without events are lists of answers.
  const answers = root.kind === 'list' ? root.items : [root];
  const texts = new Map<string, string>();
  for (const { key, node } of answers.flatMap(slotsOfBody))
    texts.set(key, (texts.get(key) ?? '') + node.value);
  let redacted = 0;
  const text = Object.fromEntries(
    [...texts].map(([key, value]) => {
      const found = redactText(value, rules);
      redacted += found.redacted;
      return [key, found.text];
    }),
  );
  return { text, redacted };
}

function slotsOfBody(root: JsonNode): TextSlot[] {
  const chat = indexed(root, 'choices').flatMap(({ index, item }) => {
    const message = memberOf(item, 'message');
    return message === undefined ? [] : deltaSlots(message, `choices.${index}`, []);
  });
  return [
    ...chat,
    ...slotFinders['openai-completions'](root),
    ...slotFinders.gemini(root),
    ...indexed(root, 'content').flatMap(({ index, item }) => deltaSlots(item, `content.${index}`, [])),
    ...itemsOf(memberOf(root, 'output')).flatMap(outputSlots),
  ].filter(({ isText }) => isText);
}

/** The texts of one item of a response. */
function outputSlots(item: JsonNode, place: number): TextSlot[] {
  const type = stringOf(memberOf(item, 'type'));
  const texts = ['content', 'summary'].flatMap((list) =>
    itemsOf(memberOf(item, list)).flatMap((part, index) => {
      const kind = stringOf(memberOf(part, 'type')) ?? list;
      const name = kind === 'summary_text' ? 'reasoning_summary_text' : kind;
      return deltaSlots(part, '', []).map((slot) => ({ ...slot, key: `output.${place}.${index}.${name}` }));
    }),
  );
  const own = deltaSlots(item, '', []).filter(({ key }) => key === '.arguments' || key === '.input');
  return [...texts, ...own.map((slot) => ({ ...slot, key: `output.${place}.${type}_${slot.key.slice(1)}` }))];
}
