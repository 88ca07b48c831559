import { classifyErrors } from './error-payload.ts';
import { endOfString, forEachKey, isText } from './json-keys.ts';
import type { ClassifyPayload, PayloadKind } from './sse.ts';

/**
 * Tells payloads by the `type` of their JSON object, where a format names its events by it; what is not listed and
 * begins with one of `ownTypes` is content, anything else may be an error. Nearly always it is the first key, and a few
 * bytes tell.
 */
export function classifyByType(
  kinds: Readonly<Record<string, PayloadKind>>,
  ownTypes: readonly string[],
): ClassifyPayload {
  const types = Object.entries(kinds).map(([type, kind]) => ({ text: encoder.encode(type), kind }));
  const own = ownTypes.map((type) => encoder.encode(type));
  return (bytes, start, end) => {
    let found: PayloadKind | undefined;
    forEachKey(bytes, start, end, (keyStart, keyEnd, depth, value) => {
      if (depth !== 1 || bytes[value] !== QUOTE || !isText(bytes, keyStart, keyEnd, TYPE)) return false;
      const last = endOfString(bytes, value + 1, end);
      for (const { kind, text } of types) if (isText(bytes, value + 1, last, text)) found = kind;
      for (const text of own) {
        if (isText(bytes, value + 1, Math.min(last, value + 1 + text.length), text)) found ??= 'content';
      }
      return true;
    });
    return found ?? classifyError(bytes, start, end);
  };
}

const encoder = new TextEncoder();
const classifyError = classifyErrors();
const TYPE = encoder.encode('type');
const QUOTE = 0x22;
