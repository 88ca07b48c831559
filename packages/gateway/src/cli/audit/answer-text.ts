import { anthropicMessages } from '@spillway/core/format/anthropic-messages';
import type { Format } from '@spillway/core/format/format';
import { gemini } from '@spillway/core/format/gemini';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { openaiCompletions } from '@spillway/core/format/openai-completions';
import { openaiResponses } from '@spillway/core/format/openai-responses';
import { type ContentFilter, createContentFilter } from '@spillway/server/tap/content/content-filter';
import type { TapRecord } from '@spillway/server/tap/tap-record';

const formats: readonly Format[] = [
  anthropicMessages,
  gemini,
  openaiChat,
  openaiCompletions,
  openaiResponses,
];
/** A body is read as a whole up to this size. */
const maxHeldBytes = 16 * 1024 * 1024;

/** What an answer said, joined from the records of its chunks. */
export class AnswerText {
  readonly #texts = new Map<string, string>();
  #raw = '';
  #filter: ContentFilter | undefined;

  begin(formatName: string | undefined): void {
    const format = formats.find(({ name }) => name === formatName);
    this.#filter = createContentFilter(format, { content: 'text', maxHeldBytes });
  }

  add({ bytes, data, encoding, events, sha256, text }: TapRecord & { kind: 'chunks' }): void {
    this.#join(text);
    if (data === undefined) {
      if (bytes !== undefined)
        this.#raw += `(${bytes} bytes that are not kept${sha256 === undefined ? '' : `, SHA-256 ${sha256}`})\n`;
      return;
    }
    const run = encoding === 'base64' ? Buffer.from(data, 'base64') : Buffer.from(data);
    this.#raw += encoding === 'base64' ? `(base64) ${data}\n` : data;
    this.#join(this.#filter?.take({ bytes: run, byteLength: run.length, events }).text);
  }

  /** Each text with its place in the events; the answer as it is where nothing was found in it. */
  end(): readonly (readonly [place: string, text: string])[] {
    this.#join(this.#filter?.flush().text);
    if (this.#texts.size > 0) return [...this.#texts];
    return this.#raw === '' ? [] : [['answer', this.#raw]];
  }

  #join(texts: Readonly<Record<string, string>> | undefined): void {
    for (const [place, text] of Object.entries(texts ?? {}))
      this.#texts.set(place, (this.#texts.get(place) ?? '') + text);
  }
}
