import { yaml } from './yaml.ts';

/**
 * The line of a YAML text where the value at a path begins, or the nearest value around it that is there. `undefined`:
 * none is, or the text cannot be read.
 */
export function lineOf(text: string, path: readonly PropertyKey[]): number | undefined {
  const { isNode, LineCounter, parseDocument } = yaml();
  const lineCounter = new LineCounter();
  try {
    const document = parseDocument(text, { lineCounter, logLevel: 'silent' });
    for (let length = path.length; length > 0; length -= 1) {
      const node = document.getIn(path.slice(0, length), true);
      if (isNode(node) && node.range) return lineCounter.linePos(node.range[0]).line;
    }
  } catch {
    // Of lists inside each other that exhaust the stack.
  }
  return undefined;
}
