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
}

/** A stream put together by hand. */
export interface JoinedEvents {
  /** Which text grew, in order, without repetition: an answer, then a tool call, then the answer. */
  readonly order: readonly string[];
  /** Added fields, whole. */
  readonly added: Record<string, unknown>;
  /** Everything else: by path, every value it took, without repetition. */
  readonly values: Record<string, readonly string[]>;
}

/**
 * Puts the events of any format together by a few rules and leaves nothing out: what no rule names has
 * to be there with every value that it had.
 */
export function joinEvents(events: Iterable<NamedEvent>, rules: JoinRules): JoinedEvents {
  const order: string[] = [];
  const added = new Map<string, string | unknown[]>();
  const values = new Map<string, string[]>();
  // A stream has thousands of events and a few dozen paths.
  const kinds = new Map<string, 'added' | 'last' | 'kept'>();

  const kindOf = (path: string): 'added' | 'last' | 'kept' => {
    let kind = kinds.get(path);
    if (kind === undefined) {
      kind = matches(rules.added, path) ? 'added' : matches(rules.last, path) ? 'last' : 'kept';
      kinds.set(path, kind);
    }
    return kind;
  };
  const keep = (path: string, value: unknown): void => {
    const text = literal(value);
    const seen = values.get(path);
    if (seen === undefined || kindOf(path) === 'last') values.set(path, [text]);
    else if (seen.at(-1) !== text) seen.push(text);
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
