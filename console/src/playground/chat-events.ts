/** What is in whole events of a chat completion. */
export interface ChatEvents {
  /** Those with text. Merged ones count once. */
  readonly events: number;
  readonly tokens: number;
  readonly text: string;
}

// A word and its blank, or one of the words without: that is what the simulator calls a token.
const token = /水は|低きに|流れる。|[^\s水低流]+ ?/gu;

export function readChatEvents(text: string): ChatEvents {
  let events = 0;
  let said = '';
  for (const line of text.split('\n')) {
    if (!line.startsWith('data: {')) continue;
    const { choices } = JSON.parse(line.slice(6)) as {
      readonly choices?: readonly { readonly delta?: { readonly content?: string } }[];
    };
    const content = choices?.[0]?.delta?.content ?? '';
    if (content === '') continue;
    events += 1;
    said += content;
  }
  return { events, tokens: said.match(token)?.length ?? 0, text: said };
}
