import { createParser } from 'eventsource-parser';

/** One event of a stream: its SSE name, if it has one, and its payload. */
export interface NamedEvent {
  readonly name: string | undefined;
  readonly data: unknown;
}

/** How somebody who reads a format by hand puts its events together. */
export interface JoinRules {
  /** Which part of the reply an event is about; only fields of the same part join. */
  readonly part: (event: NamedEvent) => string;
  /** Paths of strings and arrays that continue what came before. `[]` stands for any index. */
  readonly added: readonly RegExp[];
  /** Paths of which only the newest value means anything. */
  readonly last: readonly RegExp[];
  /** Paths of what events repeat; how often says nothing. */
  readonly repeated: readonly RegExp[];
}

/** A stream put together by hand. */
export interface JoinedEvents {
  /** Which text grew, in order, without repetition: an answer, then a tool call, then the answer. */
  readonly order: readonly string[];
  /** Added fields, whole. */
  readonly added: Record<string, unknown>;
  /**
   * Everything else: by path, every value it took, and how long each list was. What is repeated is here once,
   * and what nobody knows as often as it came: whoever joins, lists or adds it up gets the same from the same.
   */
  readonly values: Record<string, readonly string[]>;
}

/** What is the same however often it is there. */
const plain = new Set(['null', 'true', 'false', '""', '[]', '{}']);

type Kind = 'added' | 'last' | 'repeated' | 'unknown';

/**
 * Puts the events of any format together by a few rules and leaves nothing out: what no rule names has
 * to be there with every value that it had, as often as it had it.
 */
export function joinEvents(events: Iterable<NamedEvent>, rules: JoinRules): JoinedEvents {
  const order: string[] = [];
  const added = new Map<string, string | unknown[]>();
  const values = new Map<string, string[]>();
  // A stream has thousands of events and a few dozen paths.
  const kinds = new Map<string, Kind>();

  const kindOf = (path: string): Kind => {
    let kind = kinds.get(path);
    if (kind === undefined) {
      const known = (['added', 'last', 'repeated'] as const).find((name) => matches(rules[name], path));
      kind = known ?? 'unknown';
      kinds.set(path, kind);
    }
    return kind;
  };
  const keep = (path: string, value: unknown): void => {
    const text = literal(value);
    const seen = values.get(path);
    const kind = kindOf(path);
    if (seen === undefined || kind === 'last') values.set(path, [text]);
    else if (seen.at(-1) !== text || (kind === 'unknown' && !plain.has(text))) seen.push(text);
  };
  const grow = (path: string, value: string | unknown[]): void => {
    const before = added.get(path);
    if (typeof value === 'string') {
      added.set(path, (typeof before === 'string' ? before : '') + value);
      if (value !== '' && order.at(-1) !== path) order.push(path);
    } else if (Array.isArray(before)) {
      before.push(...value);
    } else {
      // Log probabilities stand beside the text that they belong to, and have no place of their own.
      added.set(path, value);
    }
  };
  const walk = (path: string, value: unknown): void => {
    if (kindOf(path) === 'added') {
      if (typeof value === 'string') return grow(path, value);
      if (Array.isArray(value)) return grow(path, value.map(literal));
      // `content: null` beside `content: "x"`: nothing to add, and nothing that anybody shows.
      if (value === null) return;
    }
    if (Array.isArray(value) && value.length > 0) {
      keep(`${path}.length`, value.length);
      for (const [position, entry] of value.entries()) walk(`${path}[${indexOf(entry) ?? position}]`, entry);
    } else if (isObject(value) && Object.keys(value).length > 0) {
      for (const key of Object.keys(value)) walk(path === '' ? key : `${path}.${key}`, value[key]);
    } else {
      keep(path, value);
    }
  };

  for (const event of events) walk(rules.part(event), event.data);
  return { order, added: Object.fromEntries(added), values: Object.fromEntries(values) };
}

/** The events as they are on the wire, numbers as they were written. */
export function readWire(sse: Uint8Array): NamedEvent[] {
  const events: NamedEvent[] = [];
  const parser = createParser({
    onEvent: ({ event, data }) => events.push({ name: event, data: parseExactly(data) }),
  });
  parser.feed(new TextDecoder().decode(sse));
  return events;
}

/** A number as written: `1.0`, `1e400` and `12345678901234567890` are all their own. */
class WrittenNumber {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

function parseExactly(data: string): unknown {
  try {
    // The third parameter of a reviver is in every engine this runs on, and not in the types yet.
    const reviver = (_key: string, value: unknown, context?: { source?: string }): unknown =>
      typeof value === 'number' ? new WrittenNumber(context?.source ?? String(value)) : value;
    return JSON.parse(data, reviver);
  } catch {
    return data;
  }
}

function literal(value: unknown): string {
  if (value instanceof WrittenNumber) return value.text;
  if (Array.isArray(value)) return `[${value.map(literal).join(',')}]`;
  if (isObject(value)) {
    const entries = Object.keys(value).map((key) => `${JSON.stringify(key)}:${literal(value[key])}`);
    return `{${entries.join(',')}}`;
  }
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  return JSON.stringify(value) ?? 'undefined';
}

function matches(patterns: readonly RegExp[], path: string): boolean {
  return patterns.some((pattern) => pattern.test(path));
}

function indexOf(entry: unknown): string | undefined {
  return isObject(entry) && 'index' in entry ? `#${literal(entry['index'])}` : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof WrittenNumber)
  );
}
