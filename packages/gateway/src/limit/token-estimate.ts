import type { FormatName } from '@spillway/core/format/format';

/** How tokens of an answer are counted while it comes: by its events, and by the bytes beyond those that each has anyway. */
interface Ratio {
  readonly perEvent: number;
  /** The bytes of an event that say nothing: names, ids, braces. */
  readonly freeBytes: number;
  readonly bytesPerToken: number;
  /** The most tokens that an event counts on the average: some bring results of a search, and no text. */
  readonly maxPerEvent: number;
}

/**
 * By the project's fixtures and by streams that providers sent (docs/limits.md has the errors). Most providers with
 * OpenAI's formats send a token an event; Anthropic and Gemini send several.
 */
const ratios: Readonly<Record<FormatName, Ratio>> = {
  'openai-chat': { perEvent: 1, freeBytes: 400, bytesPerToken: 4, maxPerEvent: 32 },
  'openai-completions': { perEvent: 1, freeBytes: 400, bytesPerToken: 4, maxPerEvent: 32 },
  'openai-responses': { perEvent: 1, freeBytes: 400, bytesPerToken: 4, maxPerEvent: 32 },
  'anthropic-messages': { perEvent: 2.5, freeBytes: 150, bytesPerToken: 4, maxPerEvent: 8 },
  gemini: { perEvent: 3, freeBytes: 700, bytesPerToken: 4, maxPerEvent: 200 },
  conversation: { perEvent: 1, freeBytes: 400, bytesPerToken: 4, maxPerEvent: 32 },
};

/** An estimate of the tokens in so many events of an answer, which have so many bytes together. */
export function answerTokens(format: FormatName, events: number, bytes: number): number {
  const { bytesPerToken, freeBytes, maxPerEvent, perEvent } = ratios[format];
  const inText = Math.max(0, bytes - freeBytes * events) / bytesPerToken;
  return Math.ceil(events * perEvent + Math.min(inText, events * (maxPerEvent - perEvent)));
}

/** An estimate of the tokens in a text of so many bytes. */
export function textTokens(bytes: number): number {
  return Math.ceil(bytes / bytesPerTextToken);
}

const bytesPerTextToken = 4;
/** The bytes that are looked at together. Text of this length has a space, an escape, or letters beyond ASCII. */
const blockBytes = 4096;
/** What a picture, a sound or a file counts that stands in a request as text of its bytes. */
const attachmentTokens = 1000;

/**
 * An estimate of the tokens in a request. Pictures and files inside of it, in Base64, count as 1000 tokens each, whatever
 * their size.
 */
function promptTokens(parts: readonly Uint8Array[]): number {
  let textBytes = 0;
  let attachments = 0;
  let isInside = false;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += blockBytes) {
      const block = part.subarray(at, at + blockBytes);
      const isText = block.length < blockBytes || looksLikeText(block);
      if (isText) textBytes += block.length;
      else if (!isInside) attachments += 1;
      isInside = !isText;
    }
  }
  return textTokens(textBytes) + attachments * attachmentTokens;
}

/** {@link promptTokens} of a request's body. One that is no JSON, such as an upload, has none that could be counted. */
export function bodyTokens(parts: readonly Uint8Array[]): number {
  return parts[0]?.[0] === openBrace ? promptTokens(parts) : 0;
}

const openBrace = 0x7b;

function looksLikeText(block: Uint8Array): boolean {
  if (block.includes(space) || block.includes(backslash)) return true;
  for (let at = 0; at < block.length; at += 256) if ((block[at] ?? 0) >= 0x80) return true;
  return false;
}

const space = 0x20;
const backslash = 0x5c;
