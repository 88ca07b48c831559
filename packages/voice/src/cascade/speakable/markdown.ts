/** So often a text is looked at for marks that lay inside of others. More of them are left out without being understood. */
const maxPasses = 8;

const emoji =
  /\p{Regional_Indicator}{2}|[0-9#*]\uFE0F?\u20E3|\p{Extended_Pictographic}(?:\uFE0F|\u200D|\p{Emoji_Modifier}|[\u{E0020}-\u{E007F}])*|\p{Emoji_Modifier}|\uFE0F/gu;

/** What a line is, as it is written in front of it: a heading, a quote, an item of a list. */
const lineMarks = /^[ \t]*(?:(?:#{1,6}|>|[-*+•‣◦](?:[ \t]+\[[ xX]\])?)(?=[ \t]|$)[ \t]*|>[ \t]*)+/u;
const rule = /^[ \t]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|={3,})$/u;
const tableRule = /^[ \t|:-]*-[ \t|:-]*\|[ \t|:-]*$/u;
const address = /(?<![\p{L}\p{N}@.])(?:https?:\/\/|www\.)[^\s<>()[\]"'`*|]+/giu;

/**
 * Leaves out of Markdown what is not to be spoken. It remembers a block of code from one piece to the next; all else is
 * understood piece by piece, and half of a mark is left out.
 */
export class MarkdownReader {
  /** What the block of code began with; `undefined`: it is not in one. */
  #fence: '```' | '~~~' | undefined;

  /** Takes the next piece: a sentence, a line or more. */
  push(text: string): string {
    const spoken: string[] = [];
    for (const line of text.split('\n')) {
      const outside = this.#outsideOfCode(line);
      const words = outside === '' ? '' : plainLine(outside);
      if (words !== '') spoken.push(words);
    }
    return spoken.join('\n');
  }

  /** What of a line is in no block of code. */
  #outsideOfCode(line: string): string {
    if (this.#fence !== undefined) {
      if (line.trimStart().startsWith(this.#fence) || line.trimEnd().endsWith(this.#fence))
        this.#fence = undefined;
      return '';
    }
    const fence = /```|^[ \t]*~~~/.exec(line);
    if (fence === null) return line;
    const mark = fence[0] === '```' ? '```' : '~~~';
    const behind = line.slice(fence.index + fence[0].length);
    // Both ends in one line: that is code within a sentence.
    if (mark === '```' && behind.includes(mark)) return line;
    this.#fence = mark;
    return line.slice(0, fence.index);
  }
}

/** What is to be spoken of a line that is in no block of code. */
export function plainLine(line: string): string {
  let text = line;
  for (let pass = 0; pass < maxPasses; pass += 1) {
    const before = text;
    text = onePass(text);
    if (text === before) return text;
  }
  return text
    .replaceAll(/[[\]()<>*`#|~_\\!•‣◦+>=-]/g, ' ')
    .replaceAll(address, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

function onePass(line: string): string {
  if (rule.test(line) || tableRule.test(line)) return '';
  const text = line
    .replaceAll(/\\(?=[\\`*_{}[\]()#+.!|>~-])/g, '')
    .replaceAll(/<((?:https?:\/\/|mailto:)[^<>\s]*)>/gi, '$1')
    .replaceAll(/<\/?[a-z][^<>]{0,200}>/gi, ' ')
    .replaceAll(emoji, '')
    // An image has the same with "!" in front; half of a link may be in another piece.
    .replaceAll(/!?\[([^[\]]{0,1000})\]\([^()\s]{0,2000}(?:\s"[^"]{0,200}")?\)/g, '$1')
    .replaceAll(/\]\([^()\s]{0,2000}\)?/g, ' ')
    .replaceAll(/\[\^?\d{1,3}\]/g, '')
    .replaceAll(/[[\]]/g, '')
    .replace(lineMarks, '')
    .replaceAll(address, hostOf)
    .replaceAll('`', '')
    .replaceAll('~~', '')
    // "5 * 3" and "5*3" are sums, and "a_b" is a name.
    .replaceAll(/(?<=\d)\*(?=\d)/g, ' × ')
    .replaceAll(/\*+(?=\S)|(?<=\S)\*+/g, '')
    .replaceAll(/(?<![\p{L}\p{N}])_+(?=\S)|(?<=\S)_+(?![\p{L}\p{N}])/gu, '');
  return cells(text)
    .replaceAll(/\s+/gu, ' ')
    .replaceAll(/ (?=[.,;:!?](?:\s|$))/g, '')
    .trim();
}

/** A row of a table, as a list. */
function cells(line: string): string {
  if (!/^\s*\||\|\s*$|\s\|\s/u.test(line)) return line;
  return line
    .split('|')
    .map((cell) => cell.trim())
    .filter((cell) => cell !== '')
    .join(', ');
}

/** A URL's host, and the punctuation that followed the URL. */
function hostOf(url: string): string {
  const end = /[.,;:!?]{1,8}$/.exec(url)?.[0] ?? '';
  const host = url
    .replace(/^https?:\/\//i, '')
    .replace(/[/?#].*$/su, '')
    .replace(/^[^@]*@/, '')
    .replace(/^www\./i, '')
    .replace(/:\d*$/, '')
    .replace(/[.,;:!?]+$/, '');
  return host + end;
}
