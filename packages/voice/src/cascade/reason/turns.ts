import type { ReasonMessage } from '../reasoner.ts';

type SpokenMessage = Exclude<ReasonMessage, { readonly role: 'system' }>;

/** What one side says until the other one does, as APIs want it whose roles alternate. Results of tools are the human's side. */
export interface Turn {
  readonly role: 'user' | 'assistant';
  readonly messages: readonly SpokenMessage[];
}

/** Stands for the human, where an API wants that side to speak first, or last, and it has not. */
const silence: SpokenMessage = { role: 'user', text: '(Nothing was said.)' };

/**
 * A conversation as turns: roles alternate, the first and the last turn are the human's, and in a turn results of tools come before
 * words. Texts without a word are left out, which APIs refuse. What the model is told beside is `system`.
 */
export function turnsOf(messages: readonly ReasonMessage[]): {
  readonly system: string | undefined;
  readonly turns: readonly Turn[];
} {
  const system: string[] = [];
  const turns: { role: Turn['role']; messages: SpokenMessage[] }[] = [];
  const add = (message: SpokenMessage): void => {
    const role = message.role === 'assistant' ? 'assistant' : 'user';
    const last = turns.at(-1);
    if (last?.role === role) last.messages.push(message);
    else turns.push({ role, messages: [message] });
  };
  for (const message of messages) {
    if (isEmpty(message)) continue;
    if (message.role === 'system') system.push(message.text);
    else {
      if (turns.length === 0 && message.role === 'assistant') add(silence);
      add(message);
    }
  }
  if (turns.at(-1)?.role !== 'user') add(silence);
  return {
    system: system.length === 0 ? undefined : system.join('\n\n'),
    turns: turns.map(({ messages: said, role }) => ({
      role,
      messages: said.toSorted((a, b) => Number(b.role === 'tool') - Number(a.role === 'tool')),
    })),
  };
}

function isEmpty(message: ReasonMessage): boolean {
  if (message.role === 'tool') return false;
  return message.text.trim() === '' && (message.role !== 'assistant' || message.tools.length === 0);
}
