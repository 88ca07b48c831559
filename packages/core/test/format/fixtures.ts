import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { anthropicMessagesFixtures } from './fixtures/anthropic-messages.ts';
import { type Fixture, type FormatName, formatNames, type WireEvent } from './fixtures/fixture.ts';
import { geminiFixtures } from './fixtures/gemini.ts';
import { openaiChatFixtures } from './fixtures/openai-chat.ts';
import { openaiCompletionsFixtures } from './fixtures/openai-completions.ts';
import { openaiResponsesFixtures } from './fixtures/openai-responses.ts';

export { type Fixture, type FormatName, formatNames, type WireEvent };

/** The project's own streams, by format. Written for it: none of them is a recording. */
export const fixtures: Record<FormatName, readonly Fixture[]> = {
  'openai-chat': openaiChatFixtures,
  'openai-responses': openaiResponsesFixtures,
  'openai-completions': openaiCompletionsFixtures,
  'anthropic-messages': anthropicMessagesFixtures,
  gemini: geminiFixtures,
};

const encoder = new TextEncoder();

/**
 * The bytes as the provider writes them: event names where it gives names, CRLF where it uses that,
 * the end marker unless the stream is cut.
 */
export function toSse(format: FormatName, events: readonly WireEvent[], isCut = false): Uint8Array {
  return encoder.encode(toEvents(format, events, isCut).join(''));
}

/** The same, one text an event, so that a test can leave out, merge or reorder them. */
export function toEvents(format: FormatName, events: readonly WireEvent[], isCut = false): string[] {
  const lineEnd = format === 'gemini' ? '\r\n' : '\n';
  const hasNames = format === 'openai-responses' || format === 'anthropic-messages';
  const texts = events.map((event) => {
    if (typeof event === 'object' && 'comment' in event) return `:${event.comment}${lineEnd}${lineEnd}`;
    const data = typeof event === 'string' ? event : event.data;
    const name = typeof event === 'object' ? event.event : hasNames ? typeOf(data) : undefined;
    return `${name === undefined ? '' : `event: ${name}${lineEnd}`}data: ${data}${lineEnd}${lineEnd}`;
  });
  if ((format === 'openai-chat' || format === 'openai-completions') && !isCut) texts.push('data: [DONE]\n\n');
  return texts;
}

/**
 * Streams that providers really sent, from the folder that `SPILLWAY_RECORDINGS` names: one folder a
 * format in it, one file a stream, one payload a line. They are not the project's, so it does not have
 * them, and where nobody has put any there is nothing to run.
 */
export function readRecordings(
  directory: string | undefined = process.env['SPILLWAY_RECORDINGS'],
): { format: FormatName; name: string; events: readonly string[] }[] {
  if (directory === undefined || directory === '') return [];
  return formatNames.flatMap((format) => {
    const folder = join(directory, format);
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .filter((file) => file.endsWith('.jsonl'))
      .toSorted()
      .map((file) => ({
        format,
        name: file.slice(0, -'.jsonl'.length),
        events: readFileSync(join(folder, file), 'utf8')
          .split('\n')
          .filter((line) => line !== ''),
      }));
  });
}

function typeOf(data: string): string | undefined {
  const { type } = JSON.parse(data) as { type?: unknown };
  return typeof type === 'string' ? type : undefined;
}
