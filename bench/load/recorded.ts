import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readRecordings } from '../../packages/core/test/format/fixtures.ts';
import { tokenText } from '../../packages/gateway/src/simulate/tokens.ts';
import { scratchFolder } from '../peers/scratch-folder.ts';

/** A long reply that the gateway's simulator can give. */
export interface LongReply {
  readonly description: string;
  /** Arguments of the simulator, and what the model's name asks it for. */
  readonly args: readonly string[];
  readonly behaviour: string;
  /** How many characters of text there are with each event, in the order in which they are sent at their pace. */
  readonly lengths: readonly number[];
  readonly text: string;
}

/**
 * A reply of so many tokens: of recorded events, where `SPILLWAY_RECORDINGS` names a folder with some, from the chat
 * completion with the most of them, again from its first token when it ends too early; otherwise as the simulator writes it.
 */
export function longReply(tokens: number): LongReply {
  const recordings = readRecordings()
    .filter(({ format }) => format === 'openai-chat')
    .map(({ events, name }) => ({ name, texts: events.filter((event) => contentOf(event) !== '') }));
  const [longest] = recordings.toSorted((a, b) => b.texts.length - a.texts.length);
  if (longest === undefined || longest.texts.length === 0) {
    const texts = Array.from({ length: tokens }, (_, index) => tokenText(index, 0));
    return {
      description: 'simulated events, as SPILLWAY_RECORDINGS names no recorded ones',
      args: [],
      behaviour: `tokens=${tokens}`,
      lengths: texts.map((text) => text.length),
      text: texts.join(''),
    };
  }
  const { name, texts } = longest;
  const events = Array.from({ length: tokens }, (_, index) => texts[index % texts.length] ?? '');
  const folder = scratchFolder();
  writeFileSync(join(folder, 'long.jsonl'), events.join('\n'));
  return {
    description: `events of the recording ${name}`,
    args: ['--recordings', folder],
    behaviour: 'replay=long',
    lengths: events.map((event) => contentOf(event).length),
    text: events.map(contentOf).join(''),
  };
}

function contentOf(event: string): string {
  const { choices } = JSON.parse(event) as {
    readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[];
  };
  return choices?.[0]?.delta?.content ?? '';
}
