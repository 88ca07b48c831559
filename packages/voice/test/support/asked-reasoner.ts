import type { ModelTool, Reasoner, ReasonEvent, ReasonMessage } from '../../src/index.ts';

export const hello: readonly ReasonMessage[] = [{ role: 'user', text: 'Hello.' }];

export const findBook: ModelTool = {
  name: 'find_book',
  description: 'Finds a book.',
  parameters: { type: 'object', properties: { title: { type: 'string' } }, additionalProperties: false },
};
export const hours: ModelTool = {
  name: 'hours',
  description: 'When it is open.',
  parameters: { type: 'object', properties: {} },
};

/** Tools that were asked for at once, while the caller spoke, and a sentence of which nothing was heard. */
export const busyConversation: readonly ReasonMessage[] = [
  { role: 'system', text: 'Be short.' },
  { role: 'assistant', text: 'Hello, this is the library.', tools: [] },
  { role: 'user', text: 'Have you got Dune?' },
  { role: 'user', text: ' ' },
  { role: 'user', text: 'And when do you close?' },
  {
    role: 'assistant',
    text: '',
    tools: [
      { callId: 't-1', name: 'find_book', input: '{"title":"Dune"}' },
      { callId: 't-2', name: 'hours', input: 'null' },
    ],
  },
  { role: 'user', text: 'Hello?' },
  { role: 'tool', callId: 't-1', output: 'It is there.' },
  { role: 'tool', callId: 't-2', output: 'At six.' },
  { role: 'assistant', text: '', tools: [] },
  { role: 'system', text: 'Now greet again.' },
];

/** What came of an answer, to its end or its failure. */
export async function askReasoner(
  reasoner: Reasoner,
  {
    messages = hello,
    signal = new AbortController().signal,
    tools = [],
  }: {
    readonly messages?: readonly ReasonMessage[];
    readonly signal?: AbortSignal;
    readonly tools?: readonly ModelTool[];
  } = {},
): Promise<{ readonly events: ReasonEvent[]; readonly error: unknown }> {
  const events: ReasonEvent[] = [];
  try {
    for await (const event of reasoner.answer(messages, { tools, signal })) events.push(event);
    return { events, error: undefined };
  } catch (error) {
    return { events, error };
  }
}

/** The words of an answer. */
export function wordsOf(events: readonly ReasonEvent[]): string {
  return events.map((event) => (event.kind === 'text' ? event.text : '')).join('');
}

/** Writes an answer without an end as fast as it is taken. Returns how much that is. */
export function endlessly(
  write: (text: string) => boolean,
  whenDrained: (more: () => void) => void,
  text: string,
): { readonly written: number } {
  const sent = { written: 0 };
  const more = (): void => {
    while (sent.written < 100_000_000) {
      sent.written += text.length;
      if (write(text)) continue;
      whenDrained(more);
      return;
    }
  };
  more();
  return sent;
}
