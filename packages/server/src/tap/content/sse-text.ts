/** One event of an event stream, as text. */
export interface EventText {
  /** All of it, with its blank line. */
  readonly raw: string;
  /** The values of its `data:` lines, joined by LF; `undefined`: it has none. */
  readonly data: string | undefined;
  /** Its other lines, with their ends. */
  readonly others: string;
  /** How its lines end. */
  readonly lineEnd: string;
  /** What stands behind its last line: the blank line. */
  readonly end: string;
}

const lineEnds = /\r\n|\r|\n/g;

/** Takes whole events apart. Nothing is left over: the parts `raw` are the text. */
export function eventTexts(text: string): EventText[] {
  const events: EventText[] = [];
  let start = 0;
  let data: string | undefined;
  let others = '';
  let lineEnd = '\n';
  const finish = (bodyEnd: number, end: number): void => {
    events.push({ raw: text.slice(start, end), data, others, lineEnd, end: text.slice(bodyEnd, end) });
    start = end;
    data = undefined;
    others = '';
  };
  let line = 0;
  while (line < text.length) {
    lineEnds.lastIndex = line;
    const found = lineEnds.exec(text);
    const lineStop = found?.index ?? text.length;
    const next = lineStop + (found?.[0].length ?? 0);
    if (lineStop === line) {
      finish(line, next);
    } else {
      lineEnd = found?.[0] ?? lineEnd;
      const value = dataOf(text, line, lineStop);
      if (value === undefined) others += text.slice(line, next);
      else data = data === undefined ? value : `${data}\n${value}`;
    }
    line = next;
  }
  if (start < text.length) finish(text.length, text.length);
  return events;
}

/** Writes an event with other data or other lines. */
export function writeEvent({ end, lineEnd }: EventText, others: string, data: string | undefined): string {
  if (data === undefined) return others + end;
  const lines = data.split('\n').map((line) => `data: ${line}${lineEnd}`);
  return others + lines.join('') + end;
}

/** The value of a `data` line; `undefined` for any other line. */
function dataOf(text: string, start: number, end: number): string | undefined {
  if (!text.startsWith('data', start)) return undefined;
  const colon = start + 4;
  if (colon >= end) return colon === end ? '' : undefined;
  if (text[colon] !== ':') return undefined;
  const value = text[colon + 1] === ' ' && colon + 1 < end ? colon + 2 : colon + 1;
  return text.slice(value, end);
}
