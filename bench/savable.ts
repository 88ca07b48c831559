import type { FormatName } from '../packages/core/test/format/fixtures.ts';

/** Keys whose strings grow from event to event, and keys whose values nobody misses. */
const growing = new Set([
  'content',
  'reasoning_content',
  'reasoning',
  'refusal',
  'arguments',
  'delta',
  'text',
  'thinking',
  'partial_json',
]);
const replaced = new Set(['created', 'obfuscation', 'sequence_number', 'usage', 'usageMetadata']);

/**
 * What cannot be saved of a stream, found by parsing it, in another way than the code that merges: the text
 * of its deltas, one envelope for each run of events that differ only in it, and all other events as they are.
 */
export function savable(format: FormatName, events: readonly string[]): number {
  let bytes = 0;
  let before: string | undefined;
  for (const event of events) {
    const data = /^data: (.*?)\r?$/m.exec(event)?.[1] ?? '';
    const { shape, text } = data.startsWith('{')
      ? shapeOf(JSON.parse(data) as object)
      : { shape: data, text: '' };
    const isDelta = text !== '' && !/finish_?[rR]eason":"|signature/.test(data) && hasDelta(format, data);
    bytes +=
      isDelta && shape === before ? Buffer.byteLength(JSON.stringify(text)) - 2 : Buffer.byteLength(event);
    before = isDelta ? shape : undefined;
  }
  return bytes;
}

function hasDelta(format: FormatName, data: string): boolean {
  return format === 'gemini' || format.startsWith('openai-c') || data.includes('delta');
}

/** A payload without what grows and what is replaced. */
function shapeOf(payload: object): { shape: string; text: string } {
  let text = '';
  const shape = JSON.stringify(payload, (key, value: unknown) => {
    if (replaced.has(key)) return undefined;
    if (growing.has(key) && typeof value === 'string') {
      text += value;
      return value === '' ? '' : '…';
    }
    return value;
  });
  return { shape, text };
}
