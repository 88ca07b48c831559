import { listOf, numberOf, objectOf } from './json-object.ts';

type Fields = Record<string, unknown>;
type ClosingEvent = { readonly type: string } & Readonly<Fields>;

/** A part of an item: of its content, or of its summary. */
interface Part {
  fields: Fields;
  /** Whether its text, and it itself, have come to their ends. */
  isTextDone: boolean;
  isDone: boolean;
}

interface Item {
  fields: Fields;
  readonly content: Part[];
  readonly summary: Part[];
  isDone: boolean;
}

/**
 * What the deltas of a response add to: by their kind, the list of parts or the path of fields in the item. Kinds that
 * are not named (images, the results of tools) are whole in later events, and left out until those come.
 */
const growing: Readonly<
  Record<string, { readonly of: 'content' | 'item' | 'summary'; readonly field: string }>
> = {
  output_text: { of: 'content', field: 'text' },
  refusal: { of: 'content', field: 'refusal' },
  reasoning_text: { of: 'content', field: 'text' },
  reasoning_summary_text: { of: 'summary', field: 'text' },
  function_call_arguments: { of: 'item', field: 'arguments' },
  mcp_call_arguments: { of: 'item', field: 'arguments' },
  custom_tool_call_input: { of: 'item', field: 'input' },
  code_interpreter_call_code: { of: 'item', field: 'code' },
};

/** The kinds of items that are texts: all others are calls, of the client's tools or of the provider's. */
const textItems: ReadonlySet<unknown> = new Set(['message', 'reasoning']);

/** The output of a response as its events so far have made it. */
export class ResponseSoFar {
  /** The fields of the response itself, from the last event that had them. */
  response: Readonly<Fields> = {};
  readonly #items = new Map<number, Item>();

  take(event: Readonly<Fields>): void {
    const { output_index: at, response, type } = event;
    if (typeof response === 'object' && response !== null) this.response = objectOf(response);
    if (typeof type !== 'string' || typeof at !== 'number') return;
    const [, kind = '', step] = /^response\.(\w+)\.(\w+)$/.exec(type) ?? [];
    if (kind === 'output_item') {
      this.#takeItem(at, objectOf(event['item']), step === 'done');
      return;
    }
    const item = this.#items.get(at);
    if (item === undefined || item.isDone) return;
    if (kind === 'content_part') takePart(item.content, event['content_index'], event['part'], step);
    else if (kind === 'reasoning_summary_part')
      takePart(item.summary, event['summary_index'], event['part'], step);
    else if (type === 'response.output_text.annotation.added') takeAnnotation(item, event);
    else grow(item, kind, step, event);
  }

  #takeItem(at: number, fields: Fields, isDone: boolean): void {
    const partsOf = (list: unknown): Part[] =>
      listOf(list).map((part) => ({ fields: { ...objectOf(part) }, isTextDone: false, isDone: false }));
    const { content, summary, ...rest } = fields;
    const hasList = {
      ...(Array.isArray(content) && { content: [] }),
      ...(Array.isArray(summary) && { summary: [] }),
    };
    this.#items.set(at, {
      fields: { ...rest, ...hasList },
      content: partsOf(content),
      summary: partsOf(summary),
      isDone,
    });
  }

  /** The items so far, in order. What is not done is `incomplete`. */
  output(): Fields[] {
    return this.#inOrder().map(([, item]) => fieldsOf(item));
  }

  /** The events that close all texts, parts and items that are open and no calls, in order. */
  close(): ClosingEvent[] {
    return this.#inOrder().flatMap(([index, item]) => {
      if (item.isDone || !textItems.has(item.fields['type'])) return [];
      const at = { item_id: item.fields['id'], output_index: index };
      return [
        ...item.summary.flatMap((part, n) => closePart(part, 'summary', { ...at, summary_index: n })),
        ...item.content.flatMap((part, n) => closePart(part, 'content', { ...at, content_index: n })),
        { type: 'response.output_item.done', output_index: index, item: fieldsOf(item) },
      ];
    });
  }

  #inOrder(): [number, Item][] {
    return [...this.#items].toSorted(([one], [other]) => one - other);
  }
}

function fieldsOf({ content, fields, isDone, summary }: Item): Fields {
  return {
    ...fields,
    ...(!isDone && { status: 'incomplete' }),
    ...((content.length > 0 || 'content' in fields) && { content: content.map((part) => part.fields) }),
    ...((summary.length > 0 || 'summary' in fields) && { summary: summary.map((part) => part.fields) }),
  };
}

function takePart(parts: Part[], index: unknown, fields: unknown, step: string | undefined): void {
  const isDone = step === 'done';
  parts[numberOf(index) ?? parts.length] = { fields: { ...objectOf(fields) }, isTextDone: isDone, isDone };
}

function takeAnnotation({ content }: Item, event: Readonly<Fields>): void {
  const part = content[numberOf(event['content_index']) ?? 0];
  if (part !== undefined)
    part.fields['annotations'] = [...listOf(part.fields['annotations']), event['annotation']];
}

function grow(item: Item, kind: string, step: string | undefined, event: Readonly<Fields>): void {
  if (kind === 'shell_call_command') return growCommand(item, event);
  const growth = Object.hasOwn(growing, kind) ? growing[kind] : undefined;
  if (growth === undefined || (step !== 'delta' && step !== 'done')) return;
  const { field, of } = growth;
  const part = of === 'item' ? undefined : item[of][numberOf(event[`${of}_index`]) ?? 0];
  const fields = of === 'item' ? item.fields : part?.fields;
  if (fields === undefined) return;
  if (step === 'done') {
    if (typeof event[field] === 'string') fields[field] = event[field];
    if (part !== undefined) part.isTextDone = true;
    return;
  }
  fields[field] = textOf(fields[field]) + textOf(event['delta']);
  const logprobs = listOf(event['logprobs']);
  if (logprobs.length > 0) fields['logprobs'] = [...listOf(fields['logprobs']), ...logprobs];
}

function growCommand({ fields }: Item, { command, command_index: index, delta }: Readonly<Fields>): void {
  const action = objectOf(fields['action']);
  const commands = listOf(action['commands']).slice();
  const at = numberOf(index) ?? 0;
  commands[at] = typeof command === 'string' ? command : textOf(commands[at]) + textOf(delta);
  fields['action'] = { ...action, commands };
}

function closePart(part: Part, of: 'content' | 'summary', at: Fields): ClosingEvent[] {
  const { fields, isDone, isTextDone } = part;
  const { logprobs, refusal, text, type } = fields;
  if (isDone) return [];
  const kind = of === 'summary' ? 'reasoning_summary_text' : String(type);
  const value =
    type === 'refusal'
      ? { refusal }
      : { text, ...(kind === 'output_text' && { logprobs: listOf(logprobs) }) };
  const ofPart = of === 'summary' ? 'reasoning_summary_part' : 'content_part';
  return [
    ...(isTextDone || !Object.hasOwn(growing, kind)
      ? []
      : [{ type: `response.${kind}.done`, ...at, ...value }]),
    { type: `response.${ofPart}.done`, ...at, part: fields },
  ];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
