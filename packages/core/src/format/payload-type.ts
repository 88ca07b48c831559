import { classifyErrors } from './error-payload.ts';
import { endOfString, forEachKey, isText } from './json-keys.ts';
import type { ClassifyPayload, PayloadKind } from './sse.ts';

/**
 * Returns a function that classifies payloads by the `type` of their JSON object, for formats that name their events by
 * it. A type that is not listed but begins with one of `ownTypes` is content. Any other payload may be an error. `type`
 * is nearly always the first key, so a few bytes are enough. For a kind that is a function, that function classifies
 * the payload.
 */
export function classifyByType(
  kinds: Readonly<Record<string, PayloadKind | ClassifyPayload>>,
  ownTypes: readonly string[],
): ClassifyPayload {
  const types = Object.entries(kinds).map(([type, kind]) => ({
    text: encoder.encode(type),
    classify: typeof kind === 'string' ? () => kind : kind,
  }));
  const own = ownTypes.map((type) => encoder.encode(type));
  return (bytes, start, end, choices) => {
    let found: ClassifyPayload | undefined;
    forEachKey(bytes, start, end, (keyStart, keyEnd, depth, value) => {
      if (depth !== 1 || bytes[value] !== QUOTE || !isText(bytes, keyStart, keyEnd, TYPE)) return false;
      const last = endOfString(bytes, value + 1, end);
      for (const { classify, text } of types) if (isText(bytes, value + 1, last, text)) found = classify;
      for (const text of own) {
        if (isText(bytes, value + 1, Math.min(last, value + 1 + text.length), text)) found ??= isContent;
      }
      return true;
    });
    return (found ?? classifyError)(bytes, start, end, choices);
  };
}

const isContent: ClassifyPayload = () => 'content';
const encoder = new TextEncoder();
const classifyError = classifyErrors();
const TYPE = encoder.encode('type');
const QUOTE = 0x22;
