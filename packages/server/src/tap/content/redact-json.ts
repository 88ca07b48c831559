import { type JsonNode, type JsonScalar, type JsonString, readJson, rewriteJson } from './json-nodes.ts';
import type { RedactionRule } from './redaction-rule.ts';
import { createRedactor, type Redacted, redactText } from './redactor.ts';

/** JSON in a string of JSON in a string of JSON is read as such; deeper it is text. */
const maxNesting = 3;
const none: ReadonlySet<JsonNode> = new Set();

/**
 * Replaces what the rules find in the strings, keys and numbers of a JSON text, each by itself: a string by the rule's
 * name in brackets, a number by 0. A string that is JSON itself, such as the arguments of a tool, stays JSON. All other
 * bytes stay as they are. A text that is no JSON is redacted as text. Takes linear time.
 *
 * @example
 * ```ts
 * redactJson('{"to":"ada@example.com","n":1.0}', [emailRule]).text; // '{"to":"[email]","n":1.0}'
 * ```
 *
 * @throws {SpillwayError} `invalid_option`: a rule whose name or `maxLength` is out of its range
 */
export function redactJson(text: string, rules: readonly RedactionRule[]): Redacted {
  return redactNested(text, rules, 0) ?? redactText(text, rules);
}

/** Replaces what the rules find in one string or number of a JSON text. `undefined`: nothing. */
export function redactNode(
  node: JsonScalar | JsonString,
  rules: readonly RedactionRule[],
  nesting = 0,
): Redacted | undefined {
  const found = node.kind === 'string' ? redactString(node.value, rules, nesting) : redactNumber(node, rules);
  if (found.redacted === 0) return undefined;
  return node.kind === 'string' ? { ...found, text: JSON.stringify(found.text) } : found;
}

function redactString(value: string, rules: readonly RedactionRule[], nesting: number): Redacted {
  const isNested = nesting < maxNesting && /^\s*[[{]/.test(value);
  return (isNested ? redactNested(value, rules, nesting + 1) : undefined) ?? redactText(value, rules);
}

function redactNumber({ source }: JsonScalar, rules: readonly RedactionRule[]): Redacted {
  if (redactText(source, rules).redacted === 0) return { text: source, redacted: 0 };
  const redactor = createRedactor(rules, true);
  const whole = redactor.push(source) + redactor.flush();
  return { text: whole, redacted: redactor.count };
}

/** `undefined`: the text is no JSON. */
function redactNested(text: string, rules: readonly RedactionRule[], nesting: number): Redacted | undefined {
  const root = readJson(text);
  if (root === undefined) return undefined;
  let redacted = 0;
  const whole = rewriteJson(
    text,
    root,
    (node) => {
      const found = redactNode(node, rules, nesting);
      redacted += found?.redacted ?? 0;
      return found?.text;
    },
    none,
  );
  return { text: whole, redacted };
}
