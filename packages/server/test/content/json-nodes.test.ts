import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkProperty } from '../../../core/test/support/property.ts';
import { itemsOf, type JsonNode, memberOf, readJson, rewriteJson } from '../../src/tap/content/json-nodes.ts';
import { redactJson } from '../../src/tap/content/redact-json.ts';
import { allRules, examples } from './examples.ts';

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The value that was read, put together from its places in the text. */
function valueOf(node: JsonNode): unknown {
  switch (node.kind) {
    case 'object':
      return Object.fromEntries(node.members.map(({ key, value }) => [key.value, valueOf(value)]));
    case 'list':
      return node.items.map(valueOf);
    case 'string':
      return node.value;
    default:
      return JSON.parse(node.source);
  }
}

const json = fc.json({ maxDepth: 4 });
/** JSON with a character changed, or pieces of it. */
const nearlyJson = fc.oneof(
  fc
    .tuple(json, fc.nat(), fc.constantFrom(...Array.from('{}[]",:\\0-.e tfn\u0000\n\ud800')))
    .map(
      ([text, place, character]) =>
        text.slice(0, place % (text.length + 1)) + character + text.slice(place % text.length),
    ),
  fc
    .array(fc.constantFrom(...Array.from('{}[]",:\\u0eE1-+. \t\ntrue'), 'true', 'null', '"a"', '\\u00e9'), {
      maxLength: 12,
    })
    .map((all) => all.join('')),
);

test('reads what JSON.parse reads, and nothing else', async () => {
  await checkProperty(
    'json nodes: as JSON.parse',
    fc.property(fc.oneof(json, nearlyJson), (text) => {
      const root = readJson(text);
      expect(root !== undefined, text).toBe(isJson(text));
      if (root !== undefined) expect(valueOf(root)).toEqual(JSON.parse(text));
    }),
    3000,
  );
});

test('what nests too deep is not read, whatever the stack can take', () => {
  expect(readJson('['.repeat(100_000) + ']'.repeat(100_000))).toBeUndefined();
  expect(readJson('['.repeat(200) + ']'.repeat(200))).toBeDefined();
  expect(readJson('{"a":'.repeat(100_000))).toBeUndefined();
});

test('writes the rest as it was, whatever is left out', async () => {
  await checkProperty(
    'json nodes: left out',
    fc.property(fc.json({ maxDepth: 3 }), fc.infiniteStream(fc.boolean()), (text, choices) => {
      const root = readJson(text);
      if (root === undefined) return;
      const removed = new Set<JsonNode>();
      const without = (node: JsonNode): unknown => {
        if (node.kind === 'list') return node.items.filter(keeps).map(without);
        if (node.kind !== 'object') return valueOf(node);
        // Of a key that comes twice the last one counts.
        return node.members
          .filter(({ value }) => keeps(value))
          .map(({ key, value }) => [key.value, without(value)]);
      };
      const keeps = (node: JsonNode): boolean => {
        if (choices.next().value) return true;
        removed.add(node);
        return false;
      };
      const expected = without(root);
      const written = readJson(rewriteJson(text, root, () => undefined, removed));
      if (written === undefined) throw new Error('no JSON is left');
      expect(pairsOf(written)).toEqual(expected);
    }),
  );
});

function pairsOf(node: JsonNode): unknown {
  if (node.kind === 'list') return node.items.map(pairsOf);
  if (node.kind !== 'object') return valueOf(node);
  return node.members.map(({ key, value }) => [key.value, pairsOf(value)]);
}

test('takes the last of the same keys', () => {
  const root = readJson('{"a":1,"a":[2,3]}');
  expect(itemsOf(memberOf(root, 'a')).map(valueOf)).toEqual([2, 3]);
});

test('a JSON text is redacted in its strings, keys and numbers, however deep, and in JSON that is a string', () => {
  for (const { kept, text } of examples) {
    const nested = (value: string): string =>
      JSON.stringify({
        messages: [{ content: value, [value]: 1, arguments: JSON.stringify({ to: [value], n: 1.5 }) }],
      });
    expect(redactJson(nested(text), allRules).text).toBe(nested(kept));
  }
  const odd = '{ "n" : 1.0, "big":12345678901234567890, "a":"\\u0041\\/", "a":"x" }';
  expect(redactJson(odd, allRules)).toEqual({ text: odd, redacted: 0 });
  expect(redactJson('{"card":4111111111111111,"args":"{\\"n\\":4111111111111111}"}', allRules)).toEqual({
    text: '{"card":0,"args":"{\\"n\\":0}"}',
    redacted: 2,
  });
  expect(redactJson('{"to":"ada@example.com', allRules).text).toBe('{"to":"[email]');
  expect(redactJson('["'.repeat(300) + 'ada@example.com', allRules).text).toBe(`${'["'.repeat(300)}[email]`);
});
