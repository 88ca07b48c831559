/** A value of a JSON text, with its place `text[start, end)`. */
export type JsonNode = JsonList | JsonObject | JsonScalar | JsonString;

export interface JsonString {
  readonly kind: 'string';
  readonly start: number;
  readonly end: number;
  /** The string itself, without quotes and escapes. */
  readonly value: string;
}

/** A number, `true`, `false` or `null`. */
export interface JsonScalar {
  readonly kind: 'literal' | 'number';
  readonly start: number;
  readonly end: number;
  /** As it is written. */
  readonly source: string;
}

export interface JsonList {
  readonly kind: 'list';
  readonly start: number;
  readonly end: number;
  readonly items: readonly JsonNode[];
}

export interface JsonObject {
  readonly kind: 'object';
  readonly start: number;
  readonly end: number;
  readonly members: readonly JsonMember[];
}

export interface JsonMember {
  readonly key: JsonString;
  readonly value: JsonNode;
}

/** Values that nest deeper are not read. Less than the stack can take, and far more than any provider sends. */
const maxDepth = 200;

/**
 * Reads a JSON text with the places of its values, so that a part can be replaced and all the rest stays as it was
 * written: numbers, escapes, space and keys that come twice. `undefined`: it is no JSON, or nests more than 200 deep.
 */
export function readJson(text: string): JsonNode | undefined {
  const reader = new JsonReader(text);
  try {
    return reader.whole();
  } catch (error) {
    if (error === notJson) return undefined;
    throw error;
  }
}

/** The value of an object's last member with that key, which is the one that parsers take. */
export function memberOf(node: JsonNode | undefined, key: string): JsonNode | undefined {
  if (node?.kind !== 'object') return undefined;
  return node.members.findLast((member) => member.key.value === key)?.value;
}

/** The items of a list; none of any other value. */
export function itemsOf(node: JsonNode | undefined): readonly JsonNode[] {
  return node?.kind === 'list' ? node.items : [];
}

/** The string that a value is; `undefined` for any other value. */
export function stringOf(node: JsonNode | undefined): string | undefined {
  return node?.kind === 'string' ? node.value : undefined;
}

/**
 * Writes a text that was read again, with changes. `replace` is called for each string, key and number and returns what
 * stands there instead, as JSON; `undefined`: it stays. The values in `removed` are left out, with their keys.
 */
export function rewriteJson(
  text: string,
  root: JsonNode,
  replace: (node: JsonScalar | JsonString) => string | undefined,
  removed: ReadonlySet<JsonNode>,
): string {
  let written = '';
  let copied = 0;
  const cut = (start: number, end: number, instead: string): void => {
    written += text.slice(copied, start) + instead;
    copied = end;
  };
  const visitAll = (parts: readonly (readonly JsonNode[])[]): void => {
    let hasKept = false;
    let lastEnd = 0;
    for (const [index, nodes] of parts.entries()) {
      const first = nodes[0];
      const last = nodes.at(-1);
      if (first === undefined || last === undefined) continue;
      if (!removed.has(last)) {
        for (const node of nodes) visit(node);
        hasKept = true;
      } else if (hasKept) {
        // With the comma before it.
        cut(lastEnd, last.end, '');
      } else {
        // With the comma after it, if there is one.
        cut(first.start, parts[index + 1]?.[0]?.start ?? last.end, '');
      }
      lastEnd = last.end;
    }
  };
  const visit = (node: JsonNode): void => {
    if (node.kind === 'object') visitAll(node.members.map(({ key, value }) => [key, value]));
    else if (node.kind === 'list') visitAll(node.items.map((item) => [item]));
    else if (node.kind !== 'literal') {
      const instead = replace(node);
      if (instead !== undefined) cut(node.start, node.end, instead);
    }
  };
  visit(root);
  return copied === 0 && written === '' ? text : written + text.slice(copied);
}

const notJson = new Error('no JSON');
const space = /[ \t\n\r]*/y;
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const literal = /true|false|null/y;
// Control characters are not allowed in a string.
// oxlint-disable-next-line no-control-regex
const plainCharacters = /[^"\\\u0000-\u001f]*/y;
const escape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

class JsonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): JsonNode {
    this.#take(space);
    const node = this.#value(0);
    this.#take(space);
    if (this.#at < this.#text.length) throw notJson;
    return node;
  }

  #value(depth: number): JsonNode {
    if (depth > maxDepth) throw notJson;
    const start = this.#at;
    switch (this.#text.charCodeAt(start)) {
      case QUOTE:
        return this.#string();
      case OPEN_OBJECT: {
        const members: JsonMember[] = [];
        this.#list(CLOSE_OBJECT, () => {
          const key = this.#string();
          this.#take(space);
          this.#expect(COLON);
          this.#take(space);
          members.push({ key, value: this.#value(depth + 1) });
        });
        return { kind: 'object', start, end: this.#at, members };
      }
      case OPEN_LIST: {
        const items: JsonNode[] = [];
        this.#list(CLOSE_LIST, () => items.push(this.#value(depth + 1)));
        return { kind: 'list', start, end: this.#at, items };
      }
      default: {
        const kind = this.#take(number) ? 'number' : 'literal';
        if (kind === 'literal' && !this.#take(literal)) throw notJson;
        return { kind, start, end: this.#at, source: this.#text.slice(start, this.#at) };
      }
    }
  }

  #list(close: number, readItem: () => void): void {
    this.#at += 1;
    this.#take(space);
    if (this.#text.charCodeAt(this.#at) === close) {
      this.#at += 1;
      return;
    }
    for (;;) {
      this.#take(space);
      readItem();
      this.#take(space);
      if (this.#text.charCodeAt(this.#at) !== COMMA) break;
      this.#at += 1;
    }
    this.#expect(close);
  }

  #string(): JsonString {
    const start = this.#at;
    this.#expect(QUOTE);
    this.#take(plainCharacters);
    const isPlain = this.#text.charCodeAt(this.#at) === QUOTE;
    while (this.#take(escape)) this.#take(plainCharacters);
    this.#expect(QUOTE);
    const end = this.#at;
    const value = isPlain
      ? this.#text.slice(start + 1, end - 1)
      : (JSON.parse(this.#text.slice(start, end)) as string);
    return { kind: 'string', start, end, value };
  }

  /** Moves on over what the pattern finds here. Returns whether that is anything. */
  #take(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.#text) || pattern.lastIndex === this.#at) return false;
    this.#at = pattern.lastIndex;
    return true;
  }

  #expect(code: number): void {
    if (this.#text.charCodeAt(this.#at) !== code) throw notJson;
    this.#at += 1;
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
