/** A message of a conversation, as far as the simulated model reads it. */
interface Said {
  readonly role: string;
  readonly text: string;
}

/** The longest text of a user that is said again. */
const maxEchoChars = 300;

/** Topics that the simulated model has a sentence for: the first that fits is said. */
const topics: readonly { readonly pattern: RegExp; readonly answer: string }[] = [
  { pattern: /\b(?:good ?bye|bye|that was all)\b/i, answer: 'Thank you for calling. Goodbye.' },
  { pattern: /\b(?:wait|stop)\b/i, answer: 'I have stopped. What would you like to know?' },
  {
    pattern: /\b(?:open|close|hours)\b/i,
    answer: 'We are open from nine in the morning until six in the evening, Monday to Friday.',
  },
  { pattern: /\bevents?\b/i, answer: 'There are three events this month. The first one is on the fifth.' },
  { pattern: /\bbooks?\b/i, answer: 'Yes, we have that book. It is on the second floor.' },
];

/**
 * What the simulated model says about what was said to it: a sentence on a few topics, and otherwise the words that it got. It
 * understands nothing, but whoever hears it knows that it was heard.
 */
export function talk(messages: unknown): readonly string[] {
  const last = saidIn(messages).at(-1);
  const isGreeting = last === undefined || last.role === 'system' || aside.test(last.text);
  return wordsOf(isGreeting ? greeting : answerTo(last));
}

/** Stands for words where a caller has said none. */
const aside = /^\([^()]*\)$/;

const greeting = 'Hello, this is a simulated model. How can I help you?';

function answerTo({ role, text }: Said): string {
  const heard = text.replaceAll(/\s+/g, ' ').trim().slice(0, maxEchoChars);
  if (role === 'tool') return `I have looked it up. It says: ${heard}`;
  if (heard === '') return 'I could not hear you. Please say it again.';
  const topic = topics.find(({ pattern }) => pattern.test(heard));
  const echo = `You said: ${/[.!?]$/.test(heard) ? heard : `${heard}.`}`;
  return `${echo} ${topic?.answer ?? 'Tell me more about that.'}`;
}

/** The messages of a request by OpenAI's, Anthropic's or Gemini's API that the model has not said. */
function saidIn(messages: unknown): Said[] {
  if (!Array.isArray(messages)) return [];
  return messages.flatMap((message: unknown) => {
    if (typeof message !== 'object' || message === null) return [];
    const { content, parts, role } = message as Readonly<Record<string, unknown>>;
    const isSaid = typeof role === 'string' && role !== 'assistant' && role !== 'model';
    return isSaid ? [{ role, text: textOf(content ?? parts) }] : [];
  });
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part: unknown) => (typeof part === 'object' && part !== null && 'text' in part ? part.text : ''))
    .filter((text) => typeof text === 'string')
    .join(' ');
}

/** The words of a text, each a token with the space behind it. */
function wordsOf(text: string): readonly string[] {
  return text.match(/\S+\s*/g) ?? [];
}
