import type { ComponentChildren, JSX } from 'preact';
import { type DocName, docHref, docNames } from './route.ts';
import { slugOf } from './slug.ts';

/**
 * The part of Markdown that the gateway's own documents use: headings, paragraphs, lists, tables, code, and in lines
 * bold, code and links. A link to a document that is not in the page is plain text.
 */
export function Markdown({ text, doc }: { readonly text: string; readonly doc: DocName }): JSX.Element {
  return <>{blocksOf(text).map((block, at) => render(block, at, doc))}</>;
}

function blocksOf(text: string): readonly (readonly string[])[] {
  const blocks: string[][] = [[]];
  let isCode = false;
  for (const line of text.split('\n')) {
    const isFence = line.startsWith('```');
    const begins = !isCode && (isFence || /^#{1,6} /.test(line));
    if (begins || (!isCode && line.trim() === '')) blocks.push([]);
    if (isCode || line.trim() !== '') blocks.at(-1)?.push(line);
    const endsHere = (isFence && isCode) || (!isCode && /^#{1,6} /.test(line));
    if (isFence) isCode = !isCode;
    if (endsHere) blocks.push([]);
  }
  return blocks.filter(({ length }) => length > 0);
}

function render(lines: readonly string[], key: number, doc: DocName): JSX.Element {
  const [first = ''] = lines;
  const heading = /^(#{1,6}) (.*)$/.exec(first);
  if (heading !== null) {
    const [, marks = '', title = ''] = heading;
    const Level = marks.length === 1 ? 'h1' : marks.length === 2 ? 'h2' : 'h3';
    return (
      <Level key={key} id={`doc-${slugOf(title)}`}>
        {inline(title, doc)}
      </Level>
    );
  }
  if (first.startsWith('```')) {
    return (
      // What is too wide for a phone is scrolled, also with the keyboard.
      <pre key={key} tabIndex={0}>
        <code>{lines.filter((line) => !line.startsWith('```')).join('\n')}</code>
      </pre>
    );
  }
  if (first.startsWith('|')) return <Table key={key} lines={lines} doc={doc} />;
  if (/^\s*(?:[-*]|\d+\.) /.test(first)) {
    return (
      <ul key={key}>
        {itemsOf(lines).map((item, at) => (
          <li key={at}>{inline(item, doc)}</li>
        ))}
      </ul>
    );
  }
  return <p key={key}>{inline(lines.join(' '), doc)}</p>;
}

function itemsOf(lines: readonly string[]): readonly string[] {
  const items: string[] = [];
  for (const line of lines) {
    const item = /^\s*(?:[-*]|\d+\.) (.*)$/.exec(line);
    if (item !== null) items.push(item[1] ?? '');
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  return items;
}

function Table({ lines, doc }: { readonly lines: readonly string[]; readonly doc: DocName }): JSX.Element {
  // A bar behind a backslash belongs to the cell.
  const cellsOf = (line: string): readonly string[] =>
    line
      .trim()
      .replace(/^\||\|$/g, '')
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replaceAll('\\|', '|'));
  const [head = '', , ...rows] = lines;
  return (
    <div class="doc-table" tabIndex={0} role="group" aria-label="Table">
      <table>
        <thead>
          <tr>
            {cellsOf(head).map((cell, at) => (
              <th key={at} scope="col">
                {inline(cell, doc)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={at}>
              {cellsOf(row).map((cell, column) => (
                <td key={column}>{inline(cell, doc)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const inlineParts = /`([^`]+)`|\*\*(.+?)\*\*|\*([^*]+)\*|\[((?:[^\]`]|`[^`]*`)+)\]\(([^)]+)\)/g;

function inline(text: string, doc: DocName): ComponentChildren {
  const parts: ComponentChildren[] = [];
  let from = 0;
  for (const match of text.matchAll(inlineParts)) {
    const [whole, code, bold, italic, link, target] = match;
    parts.push(text.slice(from, match.index));
    if (code !== undefined) parts.push(<code key={match.index}>{code}</code>);
    else if (bold !== undefined) parts.push(<b key={match.index}>{inline(bold, doc)}</b>);
    else if (italic !== undefined) parts.push(<i key={match.index}>{inline(italic, doc)}</i>);
    else parts.push(linkTo(target ?? '', inline(link ?? '', doc), doc, match.index));
    from = match.index + whole.length;
  }
  parts.push(text.slice(from));
  return parts;
}

function linkTo(target: string, words: ComponentChildren, doc: DocName, key: number): ComponentChildren {
  const [file = '', section = ''] = target.split('#');
  const to = file === '' ? doc : docNames.find((name) => file === `${name}.md`);
  if (to !== undefined) {
    return (
      <a key={key} href={docHref(to, section)}>
        {words}
      </a>
    );
  }
  if (!target.startsWith('https://')) return words;
  return (
    <a key={key} href={target} rel="noopener noreferrer" target="_blank">
      {words}
    </a>
  );
}
