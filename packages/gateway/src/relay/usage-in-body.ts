import type { Format, TokenUsage } from '@spillway/core/format/format';
import { parsedJson } from '@spillway/core/format/parsed-json';

/** Texts in a body are escaped, so a key that is none of the body's own is rare. */
const maxTries = 8;
const usageKey = /"(usage(?:Metadata)?)"\s*:\s*(?=\{)/y;

/**
 * The usage that an answer in one piece reports, which is no stream of events. Reads nothing of the answer but the value
 * of its last key for usage.
 *
 * @param end The body, or as much of its end as is there. It must be JSON, and its end must be the body's.
 */
export function usageInBody(format: Format, end: Uint8Array): TokenUsage | undefined {
  const text = new TextDecoder().decode(end);
  let at = text.length;
  for (let tries = 0; tries < maxTries && at > 0; tries += 1) {
    at = text.lastIndexOf('"usage', at - 1);
    if (at < 1) return undefined;
    usageKey.lastIndex = at;
    const [key, name] = usageKey.exec(text) ?? [];
    // In a string the quote before the key would be escaped.
    if (key === undefined || name === undefined || !/[{,]\s*$/.test(text.slice(Math.max(0, at - 64), at)))
      continue;
    const from = at + key.length;
    const to = endOfValue(text, from);
    if (isOfBody(text, to)) return format.usage({ [name]: parsedJson(text.slice(from, to)) });
  }
  return undefined;
}

/** The index after the object or list that begins at `from`; the text's length if it is not whole. */
function endOfValue(text: string, from: number): number {
  let depth = 0;
  let end = text.length;
  forEachBracket(text, from, (step, at) => {
    depth += step;
    if (depth === 0) end = at + 1;
    return depth === 0;
  });
  return end;
}

/** Whether what follows ends the body's own object, or a list of such objects, and nothing else. */
function isOfBody(text: string, from: number): boolean {
  let depth = 0;
  let lowest = 0;
  let closed = '';
  forEachBracket(text, from, (step, at) => {
    depth += step;
    if (depth < lowest) {
      lowest = depth;
      closed += text[at] ?? '';
    }
    return false;
  });
  return depth === lowest && (closed === '}' || closed === '}]');
}

/** Visits the brackets outside of strings, until `visit` returns `true`. */
function forEachBracket(text: string, from: number, visit: (step: -1 | 1, at: number) => boolean): void {
  let isInString = false;
  for (let at = from; at < text.length; at += 1) {
    const character = text[at];
    if (isInString && character === '\\') at += 1;
    else if (character === '"') isInString = !isInString;
    else if (!isInString && (character === '{' || character === '[')) {
      if (visit(1, at)) return;
    } else if (!isInString && (character === '}' || character === ']')) {
      if (visit(-1, at)) return;
    }
  }
}
